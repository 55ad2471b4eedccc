"""Arena placement against a byte-by-byte simulation of the run and against brute force."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from pathweave import _native


@dataclass
class Graph:
    """Values and steps as `_native.place` takes them; see native/runtime/place.h."""

    bytes: list[int] = field(default_factory=list)
    device: list[int] = field(default_factory=list)
    steps: list[tuple] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def value(self, size: int, device: int = 0) -> int:
        self.bytes.append(size)
        self.device.append(device)
        return len(self.bytes) - 1

    def input(self, size: int) -> int:
        self.inputs.append(self.value(size))
        return self.inputs[-1]

    def step(self, ins, sizes, share=(), reuse=(), device: int = 0) -> list[int]:
        outs = [self.value(s, device) for s in sizes]
        self.steps.append((list(ins), outs, list(share), list(reuse)))
        return outs

    def concat(self, ins) -> int:
        offsets = list(itertools.accumulate((self.bytes[v] for v in ins), initial=0))
        return self.step(ins, [offsets[-1]], [(i, 0, offsets[i]) for i in range(len(ins))], device=self.device[ins[0]])[0]

    def view(self, v: int) -> int:
        return self.step([v], [self.bytes[v]], [(0, 0, 0)], device=self.device[v])[0]

    def split(self, v: int, sizes, first: int = 0) -> list[int]:
        """Parts of v one behind the other, from byte `first` on."""
        offsets = itertools.accumulate(sizes, initial=first)
        return self.step([v], sizes, [(0, o, -at) for o, at in zip(range(len(sizes)), offsets)], device=self.device[v])

    def elementwise(self, *ins: int) -> int:
        """May overwrite each input of the output's size."""
        size = max(self.bytes[v] for v in ins)
        reuse = [(i, 0) for i, v in enumerate(ins) if self.bytes[v] == size]
        return self.step(ins, [size], (), reuse, device=self.device[ins[0]])[0]

    def place(self) -> dict:
        return _native.place(self.bytes, self.device, self.steps, self.inputs, self.outputs)


def common(g: Graph, v: int, out: int, offset: int) -> tuple[slice, slice]:
    """The bytes of `out`, and those of v, that a share at `offset` speaks of."""
    first, last = max(0, offset), min(g.bytes[out], offset + g.bytes[v])
    return slice(first, last), slice(first - offset, last - offset)


def simulate(g: Graph, placed: dict) -> int:
    """Run the graph on memory whose bytes hold (value that computed it, index); gives the number of copies skipped.

    A step may find an input inside an output only by a hint for just that pair, or where the same value is shared by
    one; it skips a copy where a share hint holds, and writes every other byte of its outputs. Inputs of the caller
    must never be written.
    """
    memory = {("input", j): np.full(g.bytes[v], -1) for j, v in enumerate(g.inputs)}
    memory |= {("output", j): np.full(g.bytes[v], -1) for j, v in enumerate(g.outputs)}
    memory |= {("arena", d): np.full(n, -1) for d, n in enumerate(placed["arena"])}
    contents: dict[int, np.ndarray] = {}

    def spot(v):
        root, offset, where = placed["values"][v]
        buffer = (where, g.device[v] if where == "arena" else root)
        assert offset + g.bytes[v] <= len(memory[buffer]), f"value {v} leaves its buffer"
        return buffer, offset

    def look(v):
        buffer, offset = spot(v)
        return memory[buffer][offset:offset + g.bytes[v]]

    def fresh(v):
        return np.arange(g.bytes[v]) + v * (1 << 32)

    for j, v in enumerate(g.inputs):
        contents[v] = memory["input", j][:] = fresh(v)
        assert spot(v) == (("input", j), 0)
    skipped = 0
    for s, (ins, outs, share, reuse) in enumerate(g.steps):
        for v in ins:
            assert (look(v) == contents[v]).all(), f"step {s}: value {v} was overwritten before it was read"
        for o, out in enumerate(outs):
            contents[out] = fresh(out)
            for i, v in enumerate(ins):
                (bi, at), (bo, to) = spot(v), spot(out)
                overlap = bi == bo and max(at, to) < min(at + g.bytes[v], to + g.bytes[out])
                exact = [h for h in share if ins[h[0]] == v and h[1] == o and at == to + h[2]]
                exact += [h for h in reuse if tuple(h) == (i, o) and at == to and g.bytes[v] == g.bytes[out]]
                assert not overlap or exact, f"step {s}: input {i} overlaps output {o} without a hint"
        for o, out in enumerate(outs):  # contents first: shares say what the bytes are
            claimed = np.zeros(g.bytes[out], bool)
            for i, to, offset in share:
                if to == o:
                    part, source = common(g, ins[i], out, offset)
                    contents[out][part] = np.where(claimed[part], contents[out][part], contents[ins[i]][source])
                    claimed[part] = True
        for o, out in enumerate(outs):
            (buffer, at), written = spot(out), np.ones(g.bytes[out], bool)
            for i, to, offset in share:
                if to == o and spot(ins[i]) == (buffer, at + offset):
                    written[common(g, ins[i], out, offset)[0]] = False
                    skipped += 1
            assert buffer[0] != "input" or not written.any(), f"step {s} writes into an input of the caller"
            look(out)[written] = contents[out][written]
            assert (look(out) == contents[out]).all(), f"step {s}: output {o} relies on a copy that nobody made"
        for out in outs:
            assert (look(out) == contents[out]).all(), f"step {s}: outputs overlap"
    for v in g.outputs:
        assert (look(v) == contents[v]).all(), f"output {v} was overwritten"
    for j, v in enumerate(g.inputs):
        assert (memory["input", j] == fresh(v)).all(), f"input {v} was written"
    return skipped


def random_graph(rng: random.Random) -> Graph:
    g = Graph()
    for _ in range(rng.randint(1, 3)):
        g.input(rng.choice([0, 1, 24, 64, 100, 256]))
    for _ in range(rng.randint(1, 24)):
        recent = range(max(0, len(g.bytes) - 8), len(g.bytes))
        v = rng.choice(recent)
        same = [w for w in range(len(g.bytes)) if g.device[w] == g.device[v]]
        kind = rng.random()
        if kind < 0.25:
            g.concat([v] + [rng.choice(same) for _ in range(rng.randint(0, 3))] if rng.random() < 0.8 else [v, v])
        elif kind < 0.35:
            g.view(v)
        elif kind < 0.5:  # parts that leave gaps, touch, overlap or are all of it
            cuts = sorted(rng.randint(0, g.bytes[v]) for _ in range(rng.randint(2, 4)))
            if rng.random() < 0.7:
                g.split(v, [b - a for a, b in itertools.pairwise(cuts)], cuts[0])
            else:
                g.step([v], [g.bytes[v] - cuts[0], g.bytes[v] - cuts[1]], [(0, 0, -cuts[0]), (0, 1, -cuts[1])],
                       device=g.device[v])
        elif kind < 0.78:
            g.elementwise(*([v, v] if rng.random() < 0.2 else [v, rng.choice(same)][:rng.randint(1, 2)]))
        elif kind < 0.85:  # to the other device
            g.step([v], [g.bytes[v]], device=1 - g.device[v])
        else:
            ins = [rng.choice(same) for _ in range(rng.randint(0, 3))]
            g.step(ins, [rng.choice([0, 8, 60, 128, 300]) for _ in range(rng.randint(1, 3))], device=g.device[v])
    on_host = [v for v in range(len(g.bytes)) if g.device[v] == 0]
    g.outputs = [rng.choice(on_host) for _ in range(rng.randint(1, 3))]
    return g


def lives(g: Graph) -> list[tuple[int, int]]:
    """First and last step of each value, the caller's from before to after the run."""
    life = {v: [-1, len(g.steps)] for v in g.inputs}
    for s, (ins, outs, _, _) in enumerate(g.steps):
        life |= {v: [s, s] for v in outs}
        for v in ins:
            life[v][1] = max(life[v][1], s)
    for v in g.outputs:
        life[v][1] = len(g.steps)
    return [tuple(life[v]) for v in range(len(g.bytes))]


def up(n: int) -> int:
    return (n + 63) // 64 * 64


def first_fit_in_step_order(g: Graph) -> int:
    """Peak of the plainest allocator: no hints, every value at the lowest free place when it is written."""
    life, peak = lives(g), 0
    for d in {*g.device}:
        placed, top = [], 0
        order = sorted((v for v in range(len(g.bytes)) if g.device[v] == d), key=lambda v: life[v][0])
        for v in order:
            if v in g.inputs or v in g.outputs:
                continue
            at = 0
            for start, end, _ in sorted(p for p in placed if p[2][0] <= life[v][1] and life[v][0] <= p[2][1]):
                if at + g.bytes[v] <= start:
                    break
                at = max(at, up(end))
            placed.append((at, at + g.bytes[v], life[v]))
            top = max(top, up(at + g.bytes[v]))
        peak += top
    return peak


def test_random_graphs_keep_every_value_until_it_is_read():
    rng = random.Random(7)
    skipped = shared = 0
    for trial in range(1500):
        g = random_graph(rng)
        placed = g.place()
        try:
            skipped += simulate(g, placed)
        except AssertionError as e:
            raise AssertionError(f"trial {trial}: {e}\n{g}\n{placed}") from None
        assert placed["peak"] == sum(placed["arena"]) <= placed["unshared"]
        roots = [root for root, _, where in placed["values"] if where == "arena"]
        shared += len(roots) - len({*roots})
    assert skipped > 1000 and shared > 3000  # the hints are taken, else this test would prove little


def test_the_simulation_notices_a_wrong_placement():
    noticed = 0
    rng = random.Random(3)
    for _ in range(1000):
        g = random_graph(rng)
        placed = g.place()
        arena = [v for v, (_, _, where) in enumerate(placed["values"]) if where == "arena" and g.bytes[v]]
        if len(arena) < 2:
            continue
        a, b = rng.sample(arena, 2)
        life = lives(g)
        if g.device[a] != g.device[b] or not (life[a][0] < life[b][0] < life[a][1]):
            continue
        placed["values"][b] = (0, placed["values"][a][1], "arena")
        placed["arena"] = [n + 1024 for n in placed["arena"]]
        try:
            simulate(g, placed)
        except AssertionError:
            noticed += 1
    assert noticed > 40


def test_packs_tighter_than_first_fit_in_step_order():
    rng = random.Random(11)
    ours = plain = 0
    for _ in range(300):
        g = Graph()
        values = [g.input(64)]
        for _ in range(rng.randint(5, 40)):
            ins = rng.sample(values[-6:], min(len(values), rng.randint(1, 2)))
            values += g.step(ins, [64 * rng.randint(1, 40)])
        g.outputs = [values[-1]]
        placed = g.place()
        simulate(g, placed)
        life = lives(g)
        bound = max(sum(up(g.bytes[v]) for v in range(len(g.bytes)) if placed["values"][v][2] == "arena"
                        and life[v][0] <= s <= life[v][1]) for s in range(len(g.steps)))
        assert bound <= placed["peak"] <= first_fit_in_step_order(g)
        ours, plain = ours + placed["peak"], plain + first_fit_in_step_order(g)
    assert ours < plain


def optimum(g: Graph) -> int:
    """Least peak over all placements at multiples of 64, by brute force over the order of first fits."""
    life = lives(g)
    values = [v for v in range(len(g.bytes)) if v not in g.inputs and v not in g.outputs]
    best = sum(up(g.bytes[v]) for v in values)
    for order in itertools.permutations(values):
        placed, top = [], 0
        for v in order:
            at = 0
            for start, end, w in sorted(placed):
                if life[w][0] <= life[v][1] and life[v][0] <= life[w][1]:
                    if at + up(g.bytes[v]) <= start:
                        break
                    at = max(at, end)
            placed.append((at, at + up(g.bytes[v]), v))
            top = max(top, at + up(g.bytes[v]))
        best = min(best, top)
    return best


def test_close_to_the_optimum_on_small_graphs():
    rng, ours, least = random.Random(5), 0, 0
    for _ in range(60):
        g = Graph()
        values = [g.input(64)]
        for _ in range(6):
            values += g.step(rng.sample(values[-3:], min(len(values), 2)), [64 * rng.randint(1, 9)])
        g.outputs = [g.step([values[-1]], [64])[0]]
        best, got = optimum(g), g.place()["peak"]
        assert got >= best
        ours, least = ours + got, least + best
    assert ours <= 1.05 * least


def test_a_chain_needs_two_neighbours():
    g = Graph()
    v = g.input(64)
    sizes = [640, 1280, 320, 960, 64]
    for size in sizes:
        (v,) = g.step([v], [size])
    g.outputs = [v]
    placed = g.place()
    assert placed["values"][v] == (0, 0, "output")
    assert placed["peak"] == 640 + 1280
    assert placed["unshared"] == 640 + 1280 + 320 + 960


def test_an_elementwise_chain_runs_in_one_place():
    g = Graph()
    (v,) = g.step([g.input(512)], [512])
    first = v
    for _ in range(5):
        v = g.elementwise(v)
    (end,) = g.step([v], [64])
    g.outputs = [end]
    placed = g.place()
    assert placed["values"][v] == placed["values"][first]
    assert placed["peak"] == 512


def test_concat_inputs_are_written_in_place_even_inside_the_callers_output():
    g = Graph()
    x = g.input(64)
    parts = [g.step([x], [n])[0] for n in (128, 36, 100)]
    g.outputs = [g.concat(parts)]
    placed = g.place()
    assert [placed["values"][p] for p in parts] == [(0, 0, "output"), (0, 128, "output"), (0, 164, "output")]
    assert placed["peak"] == 0


def test_parts_of_a_split_lie_in_the_split_value_and_keep_only_their_own_bytes():
    g = Graph()
    (x,) = g.step([g.input(64)], [640])
    a, b, c = g.split(x, [128, 256, 256])
    (first,) = g.step([a, b], [64])
    (wide,) = g.step([first], [384])  # a and b are dead here, c is not
    g.outputs = g.step([wide, c], [16])
    placed = g.place()
    assert simulate(g, placed) == 3
    at = placed["values"][x][1]
    assert [placed["values"][v][1] - at for v in (a, b, c)] == [0, 128, 384]
    assert placed["peak"] == 640 + 64  # `wide` lies where a and b were


def test_a_part_is_changed_in_place_once_the_whole_is_dead():
    for late in (False, True):
        g = Graph()
        (x,) = g.step([g.input(64)], [512])
        a, b = g.split(x, [256, 256])
        changed = g.elementwise(a)
        g.outputs = g.step([changed, b, *([x] if late else [])], [16])
        placed = g.place()
        assert simulate(g, placed) == 2
        assert (placed["values"][changed] == placed["values"][a]) is not late


def test_parts_of_parts_and_a_concat_of_them_move_nothing():
    g = Graph()
    (x,) = g.step([g.input(64)], [512])
    a, b = g.split(x, [192, 320])
    c, d = g.split(b, [128, 192])
    whole = g.concat([a, c, d])
    g.outputs = g.step([whole], [16])
    placed = g.place()
    assert simulate(g, placed) == 7
    assert placed["values"][whole] == placed["values"][x] and placed["peak"] == 512


def test_parts_of_inputs_are_free_but_never_changed_in_place():
    g = Graph()
    x = g.input(512)
    a, b = g.split(x, [256, 256])
    (inner,) = g.split(b, [64], 32)
    changed = g.elementwise(b)
    g.outputs = g.step([a, changed, inner], [16])
    placed = g.place()
    assert simulate(g, placed) == 3
    assert [placed["values"][v] for v in (a, b, inner)] == [(0, 0, "input"), (0, 256, "input"), (0, 288, "input")]
    assert placed["values"][changed][2] == "arena"


def test_a_part_that_is_an_output_is_copied_straight_into_it():
    for source in ("input", "step"):
        g = Graph()
        x = g.input(512) if source == "input" else g.step([g.input(64)], [512])[0]
        a, b = g.split(x, [256, 256])
        g.outputs = [a, *g.step([b], [16])]
        placed = g.place()
        assert simulate(g, placed) == 1
        assert placed["values"][a] == (0, 0, "output")


def test_the_result_on_a_part_is_written_straight_into_the_callers_output():
    g = Graph()
    (x,) = g.step([g.input(64)], [512])
    a, b = g.split(x, [256, 256])
    changed = g.elementwise(a)
    g.outputs = [changed, *g.step([b], [16])]
    placed = g.place()
    assert simulate(g, placed) == 2
    assert placed["values"][changed] == (0, 0, "output")


def test_nested_concats_share_all_levels():
    g = Graph()
    x = g.input(64)
    a, b, c = (g.step([x], [n])[0] for n in (32, 64, 128))
    inner = g.concat([a, b])
    outer = g.concat([c, g.view(inner)])
    g.outputs = g.step([outer], [16])
    placed = g.place()
    assert simulate(g, placed) == 5
    assert placed["values"][b][1] == placed["values"][outer][1] + 128 + 32


def test_dense_block_holds_every_feature_once():
    g = Graph()
    features = [g.step([g.input(64)], [640])[0]]
    for _ in range(6):
        features.append(g.step([g.concat(features) if len(features) > 1 else features[0]], [64])[0])
    g.outputs = g.step([g.concat(features)], [32])
    placed = g.place()
    assert simulate(g, placed) == sum(range(2, 8))  # no copy is made at all
    assert placed["peak"] == 640 + 6 * 64


def test_one_value_in_two_places_of_a_concat():
    g = Graph()
    (a,) = g.step([g.input(64)], [64])
    g.outputs = g.step([g.concat([a, a])], [16])
    assert simulate(g, g.place()) == 1


def test_one_value_in_two_concats_with_different_neighbours():
    g = Graph()
    x = g.input(64)
    a, b, c = (g.step([x], [64])[0] for _ in range(3))
    left, right = g.concat([a, b]), g.concat([a, c])
    g.outputs = g.step([left, right], [16])
    placed = g.place()
    assert simulate(g, placed) == 3  # a lies in one of the two
    assert placed["values"][left][:2] != placed["values"][right][:2]


def test_a_view_is_not_overwritten_while_its_source_is_read_later():
    g = Graph()
    (a,) = g.step([g.input(64)], [64])
    changed = g.elementwise(g.view(a))
    g.outputs = g.step([a, changed], [64])
    placed = g.place()
    simulate(g, placed)
    assert placed["values"][changed][:2] != placed["values"][a][:2]


def test_a_value_used_twice_by_one_step_may_only_be_overwritten_where_both_uses_allow_it():
    for reuse, in_place in (([(0, 0), (1, 0)], True), ([(0, 0)], False)):
        g = Graph()
        (a,) = g.step([g.input(64)], [64])
        (b,) = g.step([a, a], [64], (), reuse)
        g.outputs = g.step([b], [8])
        placed = g.place()
        simulate(g, placed)
        assert (placed["values"][a] == placed["values"][b]) is in_place


def test_inputs_are_never_overwritten_and_views_of_them_are_free():
    g = Graph()
    x = g.input(256)
    view = g.view(g.view(x))
    changed = g.elementwise(view)
    g.outputs = g.step([changed, x], [64])
    placed = g.place()
    simulate(g, placed)
    assert placed["values"][view] == (0, 0, "input")
    assert placed["values"][changed][2] == "arena"


def test_outputs_that_are_inputs_views_or_named_twice():
    g = Graph()
    x = g.input(64)
    view = g.view(x)
    part = g.step([x], [64])[0]
    whole = g.concat([part, view])
    g.outputs = [x, view, part, whole, whole]
    placed = g.place()
    simulate(g, placed)
    assert placed["values"][x] == (0, 0, "input")
    assert placed["values"][view][2] == "output"  # an alias of the input could not be handed back
    assert placed["values"][whole] == (3, 0, "output") and placed["values"][part] == (3, 0, "output")


def test_devices_have_arenas_of_their_own():
    g = Graph()
    x = g.input(128)
    (there,) = g.step([x], [128], device=1)
    there = g.elementwise(there)
    (back,) = g.step([there], [128], device=0)
    g.outputs = g.step([back], [64])
    placed = g.place()
    simulate(g, placed)
    assert placed["arena"] == [128, 128]


@pytest.mark.parametrize("change, message", [
    (lambda g: g.steps.append(([99], [g.value(8)], [], [])), "value 99 does not exist"),
    (lambda g: g.steps.append(([0], [0], [], [])), "written a second time"),
    (lambda g: g.steps.insert(0, ([1], [g.value(8)], [], [])), "read before it is written"),
    (lambda g: g.value(8), "never written"),
    (lambda g: g.outputs.append(7), "does not exist"),
    (lambda g: g.step([0], [16], share=[(0, 0, 1)]), "cannot lie at byte 1"),
    (lambda g: g.step([0], [16], share=[(0, 1, 0)]), "do not both exist"),
    (lambda g: g.step([0], [8], share=[(0, 0, -9)]), "cannot lie at byte -9"),
    (lambda g: g.step([0], [8], share=[(0, 0, 1)]), "cannot lie at byte 1"),
    (lambda g: g.step([0], [24], share=[(0, 0, -1)]), "neither lies inside the other"),
    (lambda g: g.step([0], [8], share=[(0, 0, -(1 << 62))]), "cannot lie at byte"),
    (lambda g: g.step([0], [16], reuse=[(-1, 0)]), "do not both exist"),
    (lambda g: g.value(1 << 60), "not possible"),
])
def test_malformed_graphs_are_refused(change, message):
    g = Graph()
    g.outputs = g.step([g.input(16)], [16])
    g.place()
    change(g)
    with pytest.raises(ValueError, match=message):
        g.place()


def test_a_thousand_steps_are_laid_out_at_once():
    g = Graph()
    v, previous = g.step([g.input(64)], [4096])[0], None
    for i in range(1000):
        v = g.elementwise(v, previous) if i % 7 == 0 and previous is not None else g.elementwise(v)
        if i % 7 == 3:
            previous = v
            (v,) = g.step([v], [4096])
    g.outputs = [v]
    placed = g.place()
    simulate(g, placed)
    assert placed["peak"] <= 3 * 4096
