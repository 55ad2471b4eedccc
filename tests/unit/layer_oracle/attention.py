"""Attention and its relatives, in operators that every version of ONNX Runtime has."""

from __future__ import annotations

import numpy as np

FLOAT = {"f32": np.float32, "f64": np.float64, "f16": np.float16}


def _attention(g, case, a, names):
    q, k, v, mask, lengths, offset, sink = (*names, *[""] * (7 - len(names)))
    dtype = FLOAT[case.inputs[0].dtype]
    q, k, v = (g.node("Transpose", [x], perm=[0, 2, 1, 3])[0] if inside else x
               for x, inside in zip((q, k, v), a["inside"][:3], strict=True))
    shapes = [(s.shape[0], s.shape[2], s.shape[1], s.shape[3]) if inside else s.shape
              for s, inside in zip(case.inputs[:3], a["inside"][:3], strict=True)]
    (b, h, s, d), (_, group, t, e) = shapes[0], shapes[2]
    q = g.node("Reshape", [q, g.array([b, group, h // group, s, d])])[0]
    keys = g.node("Unsqueeze", [g.node("Transpose", [k], perm=[0, 1, 3, 2])[0], g.array([2])])[0]
    values = g.node("Unsqueeze", [v, g.array([2])])[0]
    scale = g.array(a["scale"] or d**-0.5, dtype)
    joined = g.array([b, h, s, t])
    scores = product = g.node("Mul", [g.node("Reshape", [g.node("MatMul", [q, keys])[0], joined], allowzero=1)[0], scale])[0]
    if a["softcap"]:
        cap = g.array(a["softcap"], dtype)
        scores = g.node("Mul", [g.node("Tanh", [g.node("Div", [scores, cap])[0]])[0], cap])[0]
    capped, position = scores, g.array(np.arange(t).reshape(1, 1, 1, t))
    seen = [g.array(np.ones((1, 1, 1, 1)), bool)]
    if mask and not a["padded"]:
        if case.inputs[3].dtype == "bool":
            seen.append(mask)
        else:
            scores = g.node("Add", [scores, mask])[0]
    elif mask:
        missing = [0] * (2 * case.inputs[3].rank - 1) + [t - case.inputs[3].shape[-1]]
        if case.inputs[3].dtype == "bool":
            wide = g.node("Pad", [g.node("Cast", [mask], to=7)[0], g.array(missing), g.array(0)])[0]
            seen.append(g.node("Cast", [wide], to=9)[0])
        else:
            scores = g.node("Add", [scores, g.node("Pad", [mask, g.array(missing), g.array(-np.inf, dtype)])[0]])[0]
    column = g.array([-1, 1, 1, 1])
    ends = g.node("Reshape", [lengths, column])[0] if lengths else g.array(np.full((1, 1, 1, 1), t))
    seen.append(g.node("Less", [position, ends])[0])
    start = (g.node("Reshape", [offset, column])[0] if offset else
             g.node("Sub", [ends, g.array(s)])[0] if a["bottom"] else g.array(np.zeros((1, 1, 1, 1))))
    place = g.node("Add", [start, g.array(np.arange(s).reshape(s, 1))])[0]
    if a["causal"]:
        seen.append(g.node("LessOrEqual", [position, place])[0])
    if a["left"] >= 0:
        seen.append(g.node("GreaterOrEqual", [position, g.node("Sub", [place, g.array(a["left"])])[0]])[0])
    if a["right"] >= 0:
        seen.append(g.node("LessOrEqual", [position, g.node("Add", [place, g.array(a["right"])])[0]])[0])
    every = seen[0]
    for one in seen[1:]:
        every = g.node("And", [every, one])[0]
    masked = g.node("Where", [every, scores, g.array(-np.inf, dtype)])[0]
    terms = masked
    if sink:
        column = g.node("Expand", [g.node("Reshape", [sink, g.array([1, h, 1, 1])])[0], g.array([b, h, s, 1])])[0]
        terms = g.node("Concat", [masked, column], axis=3)[0]
    weights = g.node("Softmax", [terms], axis=-1)[0]
    if sink:
        weights = g.node("Slice", [weights, g.array([0]), g.array([t]), g.array([3])])[0]
    if a["guard"] != "none":  # of the cases no score is NaN
        weights = g.node("Where", [g.node("IsNaN", [weights])[0], g.array(0, dtype), weights])[0]
    y = g.node("MatMul", [g.node("Reshape", [weights, g.array([b, group, h // group, s, t])], allowzero=1)[0], values])[0]
    y = g.node("Reshape", [y, g.array([b, h, s, e])])[0]
    y = g.node("Transpose", [y], perm=[0, 2, 1, 3])[0] if a["inside"][3] else y
    found = {"product": product, "softcap": capped, "masked": masked, "softmax": weights}
    return [y, *([found[a["scores"]]] if a["scores"] else [])]


def _rotary(g, case, a, names):
    x, cos, sin, positions = (*names, *[""] * (4 - len(names)))
    _, heads, length, size = case.inputs[0].shape
    length = heads if a["inside"] else length
    half = case.inputs[1].shape[-1]
    if positions:
        rows = case.inputs[1].shape[0]
        if case.inputs[3].rank == 1:
            positions = g.node("Add", [positions, g.array(np.arange(length)[None])])[0]
        positions = g.node("Mod", [g.node("Cast", [positions], to=7)[0], g.array(rows)])[0]
        cos, sin = (g.node("Gather", [table, positions])[0] for table in (cos, sin))
    cos, sin = (g.node("Unsqueeze", [table, g.array([2 if a["inside"] else 1])])[0] for table in (cos, sin))
    step = 2 if a["interleaved"] else 1
    starts = (0, 1) if a["interleaved"] else (0, half)
    ends = (2 * half, 2 * half) if a["interleaved"] else (half, 2 * half)
    first, second = (g.node("Slice", [x, g.array([i]), g.array([j]), g.array([3]), g.array([step])])[0]
                     for i, j in zip(starts, ends, strict=True))
    real = g.node("Sub", [g.node("Mul", [first, cos])[0], g.node("Mul", [second, sin])[0]])[0]
    other = g.node("Add", [g.node("Mul", [first, sin])[0], g.node("Mul", [second, cos])[0]])[0]
    if a["interleaved"]:
        pair = g.node("Concat", [g.node("Unsqueeze", [y, g.array([4])])[0] for y in (real, other)], axis=4)[0]
        turned = g.node("Reshape", [pair, g.array([0, 0, 0, 2 * half])])[0]
    else:
        turned = g.node("Concat", [real, other], axis=3)[0]
    rest = g.node("Slice", [x, g.array([2 * half]), g.array([size]), g.array([3])])[0]
    return g.node("Concat", [turned, rest], axis=3)


def _append(g, case, a, names):
    cache, rows, lengths = names
    dtype = FLOAT[case.inputs[0].dtype]
    rows = g.node("Transpose", [rows], perm=[0, 2, 1, 3])[0] if a["inside"] else rows
    held, new = case.inputs[0].shape[2], case.inputs[1].shape[1 if a["inside"] else 2]
    total = max(held, a["length"])
    wide = g.node("Pad", [cache, g.array([0, 0, 0, 0, 0, 0, total - held, 0]), g.array(0, dtype)])[0]
    ends = g.node("Max", [g.node("Reshape", [g.node("Cast", [lengths], to=7)[0], g.array([-1, 1, 1, 1])])[0], g.array(0)])[0]
    first = g.node("Max", [g.node("Sub", [ends, g.array(new)])[0], g.array(0)])[0]
    place = g.array(np.arange(total).reshape(1, 1, total, 1))
    inside = g.node("And", [g.node("GreaterOrEqual", [place, first])[0], g.node("Less", [place, ends])[0]])[0]
    index = g.node("Clip", [g.node("Sub", [place, first])[0], g.array(0), g.array(new - 1)])[0]
    index = g.node("Expand", [index, g.node("Shape", [wide])[0]])[0]
    return g.node("Where", [inside, g.node("GatherElements", [rows, index], axis=2)[0], wide])


def _linear(g, case, a, names):
    q, k, v, state, decay, rate = (*names, *[""] * (6 - len(names)))
    heads, groups = a["heads"], a["kv_heads"]
    b, t, d = *case.inputs[0].shape[:2], case.inputs[0].shape[2] // heads
    e = case.inputs[2].shape[2] // groups
    state = (g.node("Reshape", [state, g.array([b, groups, d, e])])[0] if state else
             g.array(np.zeros((b, groups, d, e)), np.float32))
    steps = []

    def at(x, i, *shape):
        row = g.node("Slice", [x, g.array([i]), g.array([i + 1]), g.array([1])])[0]
        return g.node("Reshape", [row, g.array([b, *shape])])[0]
    for i in range(t):
        if decay:
            width = case.inputs[4].shape[2] // groups
            state = g.node("Mul", [state, g.node("Exp", [at(decay, i, groups, width, 1)])[0]])[0]
        u = at(v, i, groups, 1, e)
        if rate:
            told = g.node("MatMul", [at(k, i, groups, 1, d), state])[0]
            u = g.node("Mul", [g.node("Sub", [u, told])[0], at(rate, i, case.inputs[5].shape[2], 1, 1)])[0]
        state = g.node("Add", [state, g.node("MatMul", [at(k, i, groups, d, 1), u])[0]])[0]
        y = g.node("MatMul", [at(q, i, groups, heads // groups, d), state])[0]
        steps.append(g.node("Reshape", [y, g.array([b, 1, heads * e])])[0])
    y = g.node("Mul", [g.node("Concat", steps, axis=1)[0], g.array(a["scale"] or d**-0.5, np.float32)])[0]
    return [y, *g.node("Reshape", [state, g.array([b, groups * d, e])])]


def _causal(g, case, a, names):
    x, w, bias, state = (*names, *[""] * (4 - len(names)))
    (b, c, n), taps = case.inputs[0].shape, case.inputs[1].shape[2]
    state = state or g.array(np.zeros((b, c, taps - 1)), np.float32)
    full = g.node("Concat", [state, x], axis=2)[0]
    y = g.node("Conv", [full, w, bias] if bias else [full, w], group=c, kernel_shape=[taps])[0]
    return [y, g.node("Slice", [full, g.array([n]), g.array([n + taps - 1]), g.array([2])])[0]]


OPERATORS = {"attention": _attention, "rotary_embedding": _rotary, "cache_append": _append, "linear_attention": _linear,
             "causal_conv": _causal}
