"""python -m pathweave.testing: run the conformance suite, or repeat one of its checks."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys

from ..words import counted


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pathweave.testing", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--case", help="name of one case")
    parser.add_argument("--routine", help="id of one routine")
    parser.add_argument("--variant", help="one variant of it")
    parser.add_argument("--match", default="", help="only variants whose name has this pattern, such as amx or 'pool|reduce'")
    parser.add_argument("--isa", help="tier to cap the machine at: generic, avx2, avx512, avxvnni, vnni, bf16, fp16, amx, "
                                      "or a twin such as amx-emulated")
    parser.add_argument("--threads", type=int, action="append",
                        help="number of threads, may be repeated (default 1, 2, 3, 5 and 16)")
    parser.add_argument("--plugin", action="append", default=[], help="device library to open first, may be repeated")
    parser.add_argument("--everything", action="store_true",
                        help="at a unit's tier (above avx512) also what runs on the micro-kernels of lower tiers alone")
    parser.add_argument("--start", type=int, default=0, help="skip that many checks")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th check")
    parser.add_argument("--json", action="store_true", help="one JSON line before and one after each check")
    return parser.parse_args()


def main() -> int:
    """Exit code 0: all passed, 1: some failed, 2: nothing to check."""
    arguments = _arguments()
    if arguments.isa:
        os.environ["PATHWEAVE_ISA"] = arguments.isa
    from ..runtime.devices import cpu_info, open_plugin
    from . import conformance
    isa = os.environ.get("PATHWEAVE_ISA", "")
    for path in arguments.plugin:
        open_plugin(path)
    warning = cpu_info().get("warning")
    if warning:
        print(warning, file=sys.stderr)
    # What is asked for by name is carried out.
    named = arguments.case or arguments.routine or arguments.everything
    unit = "" if named else conformance.unit_of(isa)
    number, done, failed, left_out = 0, 0, 0, 0
    worst: dict[str, tuple[float, str]] = {}
    for subject in conformance.subjects(arguments.case):
        for check, card in conformance.checks_of(subject, arguments.routine, arguments.variant,
                                                 arguments.threads or conformance.THREADS):
            if not re.search(arguments.match, check.variant):
                continue
            number += 1
            if number <= arguments.start or number % arguments.every:
                continue
            if arguments.json:
                print(json.dumps({"start": number, "repeat": check.repeat(isa)}), flush=True)
            result = conformance.perform(subject, check, card, unit)
            done += 1
            failed += bool(result.failure)
            left_out += result.left_out
            if result.left_out and not arguments.json:
                continue
            worst[check.routine] = max(worst.get(check.routine, (0.0, "")), (result.error, check.case))
            if arguments.json:
                print(result.to_json(isa), flush=True)
            elif result.failure:
                print(f"FAILED {check.repeat(isa)}\n    {result.failure}")
    if not arguments.json:
        for routine, (error, case) in sorted(worst.items()):
            print(f"{routine:44s} worst relative error {error:9.3g}  on {case}")
        print(f"{counted(done - left_out, 'check')}, {failed} failed")
        if left_out:
            print(f"{left_out} left out, since they run on no micro-kernel of {unit}; --everything runs them too")
    return 1 if failed else 0 if done > left_out else 2


if __name__ == "__main__":
    sys.exit(main())
