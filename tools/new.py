#!/usr/bin/env python3
"""Begin a new file: a routine, a layer kind, an activation, a pass or a command. It is found by being there; nothing else is
edited.

    python tools/new.py routine conv2/ring        native/routines/conv2/ring.cpp
    python tools/new.py activation soft_clip      native/ukernels/activations/soft_clip.inc, and the layer kind's files
    python tools/new.py layer swish2              src/pathweave/layers/swish2.py, its cases, its twin in ONNX
    python tools/new.py pass merge_pads           src/pathweave/passes/merge_pads.py
    python tools/new.py command diff              src/pathweave/cli/diff.py

What it writes builds, passes the checks and declines or does nothing until you fill it in.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROUTINE = '''\
// {layer}/{algorithm}: say here in one line how it computes, and where the method comes from.
#include "spi/routine.h"

namespace pw {{
namespace {{

class {Class}Kernel : public PieceKernel {{
 public:
  {Class}Kernel(const Problem& problem, const Constants&) : count_(problem.out[0].count()) {{}}
  // Every thread of the team calls this; all work lies in bodies of team.each, see docs/routines.md.
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {{
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    team.each(count_, 4096, [&](int64_t first, int64_t last) {{
      for (int64_t i = first; i < last; ++i) y[i] = x[i];
    }});
  }}

 private:
  int64_t count_;
}};

class {Class} : public Routine {{
 public:
  {Class}() : Routine({{.id = "{layer}/{algorithm}:f32:nhwc:cpu", .accuracy = Accuracy::strict}}) {{}}
  Verdict accepts(const Problem&) const override {{ return Verdict::no("it is not written yet"); }}
  Ports ports(const Problem& problem) const override {{ return uniform_ports(problem, Layout::nhwc); }}
  std::unique_ptr<Kernel> prepare(const Problem& problem, const std::string&, const Constants& constants) const override {{
    return std::make_unique<{Class}Kernel>(problem, constants);
  }}
}};

}}  // namespace

namespace PW_COLLECT {{
void collect(Collector& c) {{ c.add<{Class}>(); }}
}}  // namespace PW_COLLECT

}}  // namespace pw
'''

LAYER = '''\
"""{name}: say in one line what it computes."""

from __future__ import annotations

from . import LayerKind
from ._common import FLOATS, check_dtype, take


class {Class}(LayerKind):
    """y = x. Source: say where the definition stands."""

    name = "{name}"
    attributes = {{}}

    def infer(self, attrs, inputs):
        (x,) = take(inputs, 1)
        check_dtype("x", x, FLOATS)
        return [x]

    def meaning(self, attrs, inputs):
        (x,) = take(inputs, 1)
        return [x.copy()]
'''

ACTIVATION = '''\
// Say here what it computes. x: a vector; a and b: the parameters, in the order of the layer kind's attributes.
PW_ACTIVATION({name}, .parameters = {{"alpha"}}) {{ return select(x < 0.0f, x * a, x); }}
'''

ACTIVATION_LAYER = '''\
"""{name}: say in one line what it computes."""

from __future__ import annotations

import numpy as np

from .activation import Activation


class {Class}(Activation):
    """x where x >= 0, else alpha x. Source: say where the definition stands."""

    name = "{name}"
    attributes = {{"alpha": 0.01}}

    @staticmethod
    def function(x, alpha):
        return np.where(x >= 0, x, alpha * x)
'''

ACTIVATION_TWIN = '''\
"""{name} in ONNX."""

from __future__ import annotations

OPERATORS = {{"{name}": "LeakyRelu"}}
'''

CASES = '''\
"""Cases of {name}."""

from __future__ import annotations

from .. import case

CASES = [case("{name}", shape) for shape in ((1,), (3, 17), (2, 3, 5, 7))]
'''

TWIN = '''\
"""{name} in ONNX."""

from __future__ import annotations

OPERATORS = {{"{name}": "Identity"}}
'''

PASS = '''\
"""{name}: say in one line what is rewritten, and why that keeps the meaning."""

from __future__ import annotations

from ._graph import Graph

order = 90
needs_shapes = False


def apply(graph: Graph) -> bool:
    """True where something changed; called again until nothing does."""
    return False
'''

COMMAND = '''\
"""pathweave {name}: say in one line what it shows or does."""

from __future__ import annotations

from ._options import Json, ModelPath, load_model
from ._output import print_json

ORDER = 100


def command(model: ModelPath, json: Json = False) -> None:
    """Say here what the help shows."""
    loaded = load_model(model)
    facts = {{"model": model, "layers": len(loaded.main.layers)}}
    if json:
        print_json(facts)
    else:
        print(f"{{model}}: {{facts['layers']}} layers")
'''


def files(what: str, name: str) -> dict[str, str]:
    """Path below the root -> contents of the files of a new thing. Raises ValueError for a bad name or kind."""
    word = r"[a-z][a-z0-9_]*"
    if not re.fullmatch(f"{word}/{word}" if what == "routine" else word, name):
        form = "LAYER/ALGORITHM" if what == "routine" else "a word"
        raise ValueError(f"{name!r}: expected {form} in lower case, digits and underscores")
    class_ = "".join(part.capitalize() for part in name.rpartition("/")[2].split("_"))
    if what == "routine":
        layer, _, algorithm = name.partition("/")
        return {f"native/routines/{layer}/{algorithm}.cpp": ROUTINE.format(layer=layer, algorithm=algorithm, Class=class_)}
    if what == "layer":
        return {f"src/pathweave/layers/{name}.py": LAYER.format(name=name, Class=class_),
                f"src/pathweave/testing/cases/{name}.py": CASES.format(name=name),
                f"tests/unit/layer_oracle/{name}.py": TWIN.format(name=name)}
    if what == "activation":
        return {f"native/ukernels/activations/{name}.inc": ACTIVATION.format(name=name),
                f"src/pathweave/layers/{name}.py": ACTIVATION_LAYER.format(name=name, Class=class_),
                f"src/pathweave/testing/cases/{name}.py": CASES.format(name=name),
                f"tests/unit/layer_oracle/{name}.py": ACTIVATION_TWIN.format(name=name)}
    if what == "pass":
        return {f"src/pathweave/passes/{name}.py": PASS.format(name=name)}
    if what == "command":
        return {f"src/pathweave/cli/{name}.py": COMMAND.format(name=name)}
    raise ValueError(f"{what!r}: expected routine, layer, activation, pass or command")


def main(arguments: list[str], root: Path = Path(__file__).resolve().parents[1]) -> int:
    """Exit code; existing files are never overwritten."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    try:
        new = files(*arguments)
    except ValueError as e:
        print(f"new: {e}", file=sys.stderr)
        return 2
    there = [p for p in new if (root / p).exists()]
    if there:
        print(f"new: {', '.join(there)} exists already", file=sys.stderr)
        return 1
    for path, text in new.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
