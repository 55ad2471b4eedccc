"""Reports: tables in every form, agreement of results, counting of work, the interleaved measurement."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest

from pathweave.layers import infer
from pathweave.net.net import Epilogue, Layer, Net, TensorSpec
from pathweave.report import bench, work
from pathweave.report.agreement import compare
from pathweave.report.peers import Declined, Peer, Task, peers, prepared
from pathweave.report.tables import Column, Table, cut, show_bytes, show_count, show_percent, show_time, time_column
from pathweave.report.timing import Times, settle, time_calls
from pathweave.words import counted, short_floats


@pytest.mark.parametrize("ns, text", [
    (None, ""), (0, "0 ns"), (812.4, "812 ns"), (999.6, "1.00 us"), (14_230, "14.2 us"), (3_050_000, "3.05 ms"),
    (999_600_000, "1.00 s"), (12.34e9, "12.3 s"), (-2500, "-2.50 us")])
def test_show_time(ns, text):
    assert show_time(ns) == text


def test_show_numbers():
    assert [show_count(n) for n in (None, 0, 999, 46_122, 3.2e6, 15.5e9)] == ["", "0", "999", "46.1 k", "3.20 M", "15.5 G"]
    assert show_bytes(512) == "512 B" and show_bytes(1_250_000) == "1.25 MB"
    assert show_percent(0.0312) == "+3.1 %" and show_percent(-0.5) == "-50.0 %"


def test_counts_with_their_nouns():
    assert [counted(n, "thread") for n in (0, 1, 2)] == ["0 threads", "1 thread", "2 threads"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


TABLE = Table([Column("name", "name"), time_column("ns", "time"), Column("empty", "empty")],
              [{"name": "a[b]", "ns": 1500.0, "emphasis": "bold"}, {"name": "long name", "ns": None}], "title", ["a note"])


def test_table_as_text():
    assert TABLE.text() == "title\nname          time\n---------  -------\na[b]       1.50 us\nlong name\na note"


def test_table_as_json_keeps_raw_values():
    assert TABLE.to_json() == [{"name": "a[b]", "ns": 1500.0}, {"name": "long name", "ns": None}]


def test_table_with_rich():
    from rich.console import Console
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False).print(TABLE.rich())
    assert all(word in out.getvalue() for word in ("title", "a[b]", "1.50 us", "a note"))
    assert "empty" not in out.getvalue()


def test_floats_are_shown_as_their_shortest_f32_text():
    tenth = repr(float(np.float32(0.1)))
    assert short_floats(f"leaky_relu:{tenth}") == "leaky_relu:0.1" and short_floats(f"a={tenth},-{tenth}") == "a=0.1,-0.1"
    for text in ("alpha=0.1", "1x3x224x224", "0.5", "v1.2.3", "1e300", "0.30000000000000004", "gemm_f32_8x48"):
        assert short_floats(text) == text  # 0.1 and the like are no f32 values, others have no shorter text
    rng = np.random.default_rng(5)
    for x in (rng.standard_normal(200) * 10.0 ** rng.integers(-30, 30, 200)).astype(np.float32):
        shown = short_floats(f"k:{float(x)!r}")[2:]
        assert np.float32(shown) == x and len(shown) <= len(repr(float(x)))


# ---- agreement ------------------------------------------------------------------------------------------------------

def test_agreement_of_floats():
    wanted = np.array([3.0, -4.0])
    found = compare(np.array([3.0, -4.0 + 1e-3], np.float32), wanted)
    assert found.largest == pytest.approx(1e-3 / 4, rel=1e-3)
    assert found.rms == pytest.approx(1e-3 / 5, rel=1e-3)
    assert compare(wanted, wanted).largest == 0


@pytest.mark.parametrize("got, wanted", [
    ([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, np.inf]), ([np.inf], [-np.inf]), ([1.0], [1.0, 1.0])])
def test_disagreement(got, wanted):
    assert compare(np.array(got), np.array(wanted)).largest == np.inf


def test_agreement_of_special_values_and_integers():
    x = np.array([np.nan, np.inf, -np.inf])
    assert compare(x, x).largest == 0
    assert compare(np.array([1, 2]), np.array([1, 2])).rms == 0
    assert compare(np.array([1, 2]), np.array([1, 3])).rms == np.inf


# ---- work -----------------------------------------------------------------------------------------------------------

def net_of(kind: str, x: tuple, constants: dict, epilogue: Epilogue = Epilogue(), **attrs) -> tuple[Net, Layer]:
    layer = Layer("l", kind, ("x", *constants), ("y",), attrs, epilogue)
    net = Net({"x": TensorSpec("f32", x)}, ["y"], [layer], {k: np.zeros(s, np.float32) for k, s in constants.items()})
    infer(net)
    return net, layer


@pytest.mark.parametrize("kind, x, constants, attrs, operations", [
    # every output element: C/groups * kh * kw multiply-adds, and one addition of the bias
    ("conv2", (2, 6, 9, 7), {"w": (4, 3, 3, 3), "b": (4,)}, {"groups": 2}, 2 * 4 * 7 * 5 * (2 * 27 + 1)),
    ("depthwise_conv2", (1, 8, 6, 6), {"w": (8, 1, 3, 3)}, {"pad": (1, 1, 1, 1)}, 8 * 36 * 18),
    ("dense", (3, 10), {"w": (5, 10)}, {}, 3 * 5 * 20),
    # every input element meets O/groups * kh * kw weights
    ("conv_transpose2", (1, 4, 5, 5), {"w": (4, 3, 2, 2)}, {"stride": (2, 2)}, 100 * 2 * 12),
    ("max_pool2", (1, 2, 4, 4), {}, {"kernel": (2, 2), "stride": (2, 2)}, 8 * 4),
    ("relu", (3, 5), {}, {}, 15), ("reshape", (3, 5), {}, {"shape": (15,)}, 0)])
def test_operations(kind, x, constants, attrs, operations):
    net, layer = net_of(kind, x, constants, **attrs)
    assert work.operations(net, layer) == operations
    assert work.parameters(net, layer) == sum(int(np.prod(s)) for s in constants.values())


def test_operations_of_epilogue():
    net, layer = net_of("dense", (3, 10), {"w": (5, 10)}, Epilogue(act="relu"))
    assert work.operations(net, layer) == 3 * 5 * 20 + 15


# ---- measuring ------------------------------------------------------------------------------------------------------

def entry(name: str, log: list, value: float = 1.0) -> bench.Entry:
    def call():
        log.append(name)
        return [np.full(3, value)]
    return bench.Entry(name, call)


def test_measure_interleaves():
    log: list[str] = []
    entries = [entry("a", log), entry("b", log), bench.Entry("absent", None, "not installed")]
    bench.measure(entries, rounds=6, calls=2)
    rounds = [log[i:i + 6] for i in range(0, len(log), 6)]
    assert all(r in (["a"] * 3 + ["b"] * 3, ["b"] * 3 + ["a"] * 3) for r in rounds)
    assert len({tuple(r) for r in rounds}) == 2  # the order changes
    assert [len(e.samples) for e in entries] == [12, 12, 0]


def test_check_compares_with_the_first():
    log: list[str] = []
    entries = [bench.Entry("absent", None, "x"), entry("a", log), entry("b", log, 1.5)]
    bench.check(entries)
    assert entries[0].agreement is None and entries[1].agreement.largest == 0 and entries[2].agreement.largest == 0.5


def test_check_compares_with_the_first_in_f32():
    """A quantised route is measured against f32, not the other way round."""
    def scores(*rows):
        return lambda: [np.array(rows, np.float32)]
    entries = [bench.Entry("ours", scores([0.0, 1.1], [3.0, 2.0], [0.4, 0.6]), accuracy="quantised"),
               bench.Entry("peer", scores([0.0, 1.0], [3.0, 2.0], [0.6, 0.4]))]
    bench.check(entries)
    assert bench.reference(entries) is entries[1]
    assert entries[1].agreement.largest == 0 and entries[1].top1 == (3, 3)
    assert entries[0].agreement.largest == pytest.approx(0.2 / 3) and entries[0].top1 == (2, 3)


def test_report_has_ratios():
    entries = [bench.Entry("a", samples=[2.0, 4.0, 3.0]), bench.Entry("b", samples=[6.0, 9.0, 8.0])]
    first, second = bench.report(entries, {}, {})["engines"]
    assert first["ratio_minimum"] == first["ratio_median"] == 1
    assert second["ratio_minimum"] == 3 and second["ratio_median"] == pytest.approx(8 / 3)


def test_times():
    times = Times((4.0, 1.0, 2.0, 3.0, 5.0))
    assert (times.minimum, times.median, times.spread) == (1.0, 3.0, pytest.approx(2 / 3))
    assert len(time_calls(lambda: None, seconds=0, at_least=4).samples) == 4


@pytest.mark.parametrize("busy, waited", [(1.0, 0.4), (0.5, 0.4), (0.0, 0.004), (0.05, 0.004)])
def test_settle_ends_when_threads_sleep_or_never_do(busy, waited):
    """A scripted timer: sleeping takes wall time, of which the process's threads compute a share."""
    class Clock:
        seconds = 0.0

        def now(self):
            return self.seconds

        def cpu(self):
            return self.seconds * busy

        def sleep(self, seconds):
            self.seconds += seconds
    assert settle(longest=0.4, window=0.002, timer=Clock()) == pytest.approx(waited, abs=0.0021)


# ---- peers ----------------------------------------------------------------------------------------------------------

def test_every_peer_is_complete():
    for name, peer in peers().items():
        assert peer.name == name and peer.modules and peer.install and peer.accuracy in ("f32", "reduced", "quantised")
        assert peer.missing() == "" or peer.missing() == f"not installed: pip install {peer.install}"


def test_the_version_of_a_peer_is_that_of_its_own_package():
    from importlib import metadata
    there = Peer("p", ("numpy",), "numpy", lambda task: list)
    assert there.version() == metadata.version("numpy")
    assert Peer("p", ("numpy",), "no-such-package numpy", lambda task: list).version() == ""
    absent = Peer("p", ("no_such_module", "numpy"), "numpy no-such-package", lambda task: list)
    assert absent.missing() and absent.version() == ""


def test_a_failing_peer_is_declined_and_quiet(capfd):
    def load(task):
        os.write(1, b"noise")
        raise RuntimeError("no such thing")
    with pytest.raises(Declined, match="RuntimeError: no such thing"):
        prepared(Peer("x", ("os",), "x", load), Task("", {}, (), 1))
    out, err = capfd.readouterr()
    assert out == "" and "noise" in err


def test_absent_peer_says_how_to_install():
    peer = Peer("x", ("no_such_module_here",), "no-such-package", lambda task: None)
    assert bench.prepare_peer(peer, Task("", {}, (), 1)).reason == "not installed: pip install no-such-package"


def test_memory_counts_what_a_process_holds():
    code = ("from pathweave.report.memory import peak_bytes\nimport numpy as np\nbefore = peak_bytes()\n"
            "np.ones(64 << 20, np.uint8)\nprint(peak_bytes() - before)")
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 60 << 20 < grown < 80 << 20


# ---- tables on narrow terminals -------------------------------------------------------------------------------------

WIDE = Table([Column("layer", "layer"), Column("routine", "routine", fold=1),
              time_column("ns", "time"), time_column("more", "margin", fold=2)],
             [{"layer": "/features/features.4/body/body.0/Conv", "routine": "conv2/winograd4:f32:nhwc:cpu", "ns": 1500,
               "more": 20}, {"layer": "b", "routine": "dense", "ns": 12.0, "more": 1}])


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_a_table_fits_its_terminal(width):
    lines = WIDE.text(width).splitlines()
    rows = [line for line in lines if "--wide" not in line]
    assert max(map(len, rows)) <= width and "1.50 us" in WIDE.text(width) and "layer" in lines[0]
    shown = [w for w in ("routine", "margin") if w in lines[0].split()]
    said = [line for line in lines if "--wide" in line]
    assert bool(said) == (len(shown) < 2 or "…" in WIDE.text(width)) and lines[4:] == said  # right below the rows
    assert all(("margin" in line) == ("margin" not in shown) and ("…" in line) == ("…" in "".join(rows)) for line in said)
    assert shown != ["margin"]  # the largest number folds first


def test_a_table_that_fits_is_left_as_it_is():
    assert WIDE.text(200) == WIDE.text() and "hidden" not in WIDE.text()
    assert cut("abcdefghij", 5) == "ab…ij" and cut("abc", 3) == "abc"


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_a_table_of_columns_that_should_stay_loses_the_last_ones(width):
    """No column is squeezed to nothing: those that do not fit are folded away, and named."""
    from rich.console import Console
    table = Table([Column("name", "output"), *(time_column(f"t{i}", f"time {i}") for i in range(6))],
                  [{"name": "logits", **{f"t{i}": 1000.0 * (i + 1) for i in range(6)}}])
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(table.rich(width))
    heading, _, row, *said = [line.strip() for line in out.getvalue().splitlines() if line.strip()]
    shown = heading.count("time")
    assert row.split()[0] == "logits" and row.count("us") == shown < 6
    assert all((f"time {i}" in heading) == (i < shown) == (f"time {i}" not in " ".join(said)) for i in range(6)), out.getvalue()
    assert max(map(len, table.text(width).splitlines()[:3])) <= width


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120])
def test_a_narrow_table_in_colour(width):
    """As on a terminal: nothing is wider, and no cell goes on in a second line."""
    from rich.console import Console
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(WIDE.rich(width))
    lines = [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]
    assert ("…" in out.getvalue()) == (width < 90) and max(map(len, lines)) <= width
    notes = "--wide" in out.getvalue()
    table = lines[:next((i for i, line in enumerate(lines) if line.startswith("hidden")), None)]
    assert notes == (len(table) < len(lines)) and len(table) == 2 + len(WIDE.rows), out.getvalue()
