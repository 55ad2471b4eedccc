"""Random routing problems and an oracle that knows nothing of the solvers: every choice, every set of conversions."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import product
from math import inf, prod
from random import Random

from pathweave.solvers import Candidate, Instance, LayerChoices

SHAPES = ("serial", "branch", "nested", "multi_input", "multi_output", "shared", "wide", "components", "free")


def tree_price(table, made, needed, known):
    """(cost, conversions) of the cheapest tree, by Dijkstra over *sets* of available formats."""
    key = (id(table), made, needed)
    if key not in known:
        start = frozenset([made])
        queue, done, known[key] = [(0, 0, 0, start)], set(), (inf, 0)
        ticket = 0
        while queue:
            cost, count, _, have = heappop(queue)
            if have in done:
                continue
            done.add(have)
            if needed <= have:
                known[key] = (cost, count)
                break
            for (f, g), price in table.items():
                if f in have and g not in have:
                    ticket += 1
                    heappush(queue, (cost + price, count + 1, ticket, have | {g}))
    return known[key]


def every_choice(instance):
    """(cost, conversions, memory, choice) of every choice of candidates, infeasible ones with infinite cost."""
    known = {}
    empty = {}
    for picks in product(*(layer.candidates for layer in instance.layers)):
        made, needed = dict(instance.inputs), {v: {f} for v, f in instance.outputs.items()}
        cost = count = 0
        for layer, c in zip(instance.layers, picks):
            cost += c.cost
            for v, f in zip(layer.inputs, c.ins):
                needed.setdefault(v, set()).add(f)
            made.update(zip(layer.outputs, c.outs))
        for v, formats in needed.items():
            more, conversions = tree_price(instance.adapts.get(v, empty), made[v], frozenset(formats), known)
            cost, count = cost + more, count + conversions
        yield cost, count, sum(c.memory for c in picks), picks


def brute(instance):
    """Best (cost, conversions, memory), and {(layer, candidate): cost of the best route that uses it}."""
    best, marginals = (inf, 0, 0), {}
    for cost, count, memory, picks in every_choice(instance):
        best = min(best, (cost, count, memory))
        for layer, c in zip(instance.layers, picks):
            key = layer.name, c
            marginals[key] = min(marginals.get(key, inf), cost)
    return best, marginals


def _wiring(shape, random):
    """[(inputs, outputs)] per layer, graph inputs, values that are certainly outputs."""
    new = iter(f"v{i}" for i in range(100)).__next__
    if shape == "serial":
        values = ["x"] + [new() for _ in range(random.randint(1, 5))]
        return [((a,), (b,)) for a, b in zip(values, values[1:])], ["x"], [values[-1]]
    if shape == "branch":
        a, b, c, d, e = (new() for _ in range(5))
        return [(("x",), (a,)), ((a,), (b,)), ((a,), (c,)), ((b, c), (d,)), ((d, a), (e,))], ["x"], [e]
    if shape == "nested":
        a, b, c, d, e, f = (new() for _ in range(6))
        inner = [((a,), (b,)), ((b,), (c,)), ((b, c), (d,))]
        return [(("x",), (a,)), *inner, ((a, d), (e,)), ((e, "x"), (f,))], ["x"], [f]
    if shape == "multi_input":
        a, b, c, d = (new() for _ in range(4))
        layers = [(("x", "y"), (a,)), (("y", "z"), (b,)), ((a, b, "x"), (c,)), ((), (d,)), ((c, d), (new(),))]
        return layers, ["x", "y", "z"], [c]
    if shape == "multi_output":
        a, b, c, d, e, f = (new() for _ in range(6))
        return [(("x",), (a, b, c)), ((b,), (d,)), ((a, d), (e, f)), ((e, b), (new(),))], ["x"], [f, "x"]
    if shape == "shared":
        a = new()
        consumers = [((a,), (new(),)) for _ in range(random.randint(3, 4))]
        return [(("x",), (a,)), *consumers, ((a, a), (new(),))], ["x"], [a, consumers[0][1][0]]
    if shape == "wide":
        mids = [new() for _ in range(4)]
        return [(("x",), (m,)) for m in mids] + [((*mids, "x"), (new(),))], ["x"], ["x"]
    if shape == "components":
        a, b, c, d = (new() for _ in range(4))
        return [(("x",), (a,)), ((a,), (b,)), (("y",), (c,)), ((c, c), (d,)), ((), (new(),))], ["x", "y"], [b, d]
    known, layers = ["x", "y"], []
    for _ in range(random.randint(2, 6)):
        outs = tuple(new() for _ in range(random.choice((1, 1, 1, 2))))
        layers.append((tuple(random.choice(known) for _ in range(random.choice((0, 1, 1, 2, 2, 3)))), outs))
        known += outs
    return layers, ["x", "y"], random.sample(known, random.randint(1, 3))


def random_instance(seed, choices=1000):
    """One random problem with at most `choices` combinations; its shape, prices and gaps depend on the seed."""
    random = Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    wiring, inputs, outputs = _wiring(shape, random)
    formats = [f"f{i}" for i in range(random.randint(2, 5))]
    whole = random.random() < 0.4                     # small whole numbers: many ties
    missing = random.choice((0.0, 0.0, 0.3, 0.6))     # share of conversions that do not exist

    def price(low, high):
        return float(random.randint(low, high)) if whole else random.uniform(low, high)

    def candidates(ins, outs, count):
        found = []
        for r in range(count):
            same = random.random() < 0.5
            f = random.choice(formats)
            ports = [f if same else random.choice(formats) for _ in range(len(ins) + len(outs))]
            cost = 0.0 if random.random() < 0.1 else price(1, 9)
            found.append(Candidate(f"r{r}", f"{random.randint(0, 2)}", tuple(ports[:len(ins)]), tuple(ports[len(ins):]),
                                   cost, 0.0, random.randint(0, 2)))
        return found

    while True:
        layers = [LayerChoices(f"layer{i}", ins, outs, candidates(ins, outs, random.randint(1, 6)))
                  for i, (ins, outs) in enumerate(wiring)]
        if prod(len(layer.candidates) for layer in layers) <= choices:
            break
    values = inputs + [v for _, outs in wiring for v in outs]
    tables = [{(f, g): 0.0 if random.random() < 0.05 else price(1, 6) for f in formats for g in formats
               if f != g and random.random() >= missing} for _ in range(2)]
    adapts = {v: random.choice(tables) for v in values if random.random() < 0.95}
    given, wanted = ({v: random.choice(formats) for v in names} for names in (inputs, outputs))
    return Instance(layers, given, wanted, adapts)


def _all_pairs(random, formats, low, high):
    return {(f, g): random.uniform(low, high) for f in formats for g in formats if f != g}


def residual_chain(layers, routines=20, formats=6, seed=0):
    """Blocks of two layers and an addition of the block's input."""
    random, names = Random(seed), [f"f{i}" for i in range(formats)]
    found, adapts, current = [], {"x": _all_pairs(random, names, 5, 30)}, "x"

    def candidates(ports):
        made = []
        for r in range(routines):
            mixed = [random.choice(names) for _ in range(ports + 1)]
            chosen = [names[r % formats]] * (ports + 1) if r < 2 * formats else mixed
            made.append(Candidate(f"r{r}", "", tuple(chosen[:-1]), (chosen[-1],), random.uniform(50, 200)))
        return made

    while len(found) < layers:
        i = len(found)
        a, b, c = f"a{i}", f"b{i}", f"c{i}"
        found += [LayerChoices(f"l{i}", (current,), (a,), candidates(1)),
                  LayerChoices(f"l{i + 1}", (a,), (b,), candidates(1)),
                  LayerChoices(f"l{i + 2}", (b, current), (c,), candidates(2))]
        adapts.update({v: _all_pairs(random, names, 5, 30) for v in (a, b, c)})
        current = c
    return Instance(found, {"x": "f0"}, {current: "f1"}, adapts)


def dense(layers, formats=6, seed=0, low=5.0, high=30.0):
    """Layer k reads the outputs of all layers before it; most candidates have one format on all ports."""
    random, names = Random(seed), [f"f{i}" for i in range(formats)]
    values, found, adapts = ["v0"], [], {"v0": _all_pairs(random, names, low, high)}
    for k in range(1, layers + 1):
        candidates = []
        for r in range(random.randint(10, 20)):
            f = random.choice(names)
            ins = tuple(random.choice(names) for _ in values) if r < 4 else (f,) * len(values)
            candidates.append(Candidate(f"r{r}", "", ins, (f,), random.uniform(50, 200)))
        found.append(LayerChoices(f"l{k}", tuple(values), (f"v{k}",), candidates))
        values.append(f"v{k}")
        adapts[f"v{k}"] = _all_pairs(random, names, low, high)
    return Instance(found, {"v0": "f0"}, {f"v{layers}": "f0"}, adapts)


def fan_out(consumers, formats=6, seed=0, stages=3):
    """Each of several values in a row is read by many layers, whose outputs are joined by one."""
    random, names = Random(seed), [f"f{i}" for i in range(formats)]
    found, adapts, current = [], {"x": _all_pairs(random, names, 1, 9)}, "x"
    for s in range(stages):
        mids = [f"m{s}_{i}" for i in range(consumers)]
        for m in mids:
            found.append(LayerChoices(m, (current,), (m,), [
                Candidate(f"r{r}", "", (random.choice(names),), (random.choice(names),), random.uniform(1, 20))
                for r in range(12)]))
            adapts[m] = _all_pairs(random, names, 1, 9)
        found.append(LayerChoices(f"join{s}", (*mids, current), (f"j{s}",), [
            Candidate(f"r{f}", "", (f,) * (consumers + 1), (f,), random.uniform(1, 20)) for f in names]))
        current = f"j{s}"
        adapts[current] = _all_pairs(random, names, 1, 9)
    return Instance(found, {"x": "f0"}, {current: "f0"}, adapts)
