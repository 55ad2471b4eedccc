"""Attention: weighted means of values, and what decoders keep for it from call to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..net.conditions import assumed, at_least, divides, equal
from ..net.dim import largest
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import (
    FLOATS,
    Mover,
    ValueKind,
    as_type,
    broadcasts_to,
    check_dtype,
    check_rank,
    check_same_dtype,
    check_shape,
    integers,
    numbers,
    take,
    whole_number,
    widen,
    word,
)

INDICES = frozenset(("i32", "i64"))
#: What the second output of `attention` holds: products times the scale, those with the soft cap, with masks, or probabilities.
SCORES = ("", "product", "softcap", "masked", "softmax")
#: Which probabilities become 0 that 0 / 0 or a NaN among the scores makes NaN: those of a query that sees no key, all, or none.
GUARDS = ("empty", "nan", "none")


class Attention(LayerKind):
    """Scaled dot-product attention: y = softmax(softcap(scale * q k') + mask) v, for each head.

    Inputs: q [B,H,S,D], k [B,G,T,D], v [B,G,T,E], mask? [...,M], lengths? [B], offset? [1] or [B], sink? [H] ->
    y [B,H,S,E] and, where `scores` is not "", the scores [B,H,S,T] as SCORES says. G divides H: query head h reads key head
    h // (H / G). `inside`: 1 for each of q, k, v and y whose heads lie inside of the sequence, [B,S,H,D].
    `scale`: 0 means 1 / sqrt(D). `softcap` c > 0: c * tanh(x / c). The mask is broadcast to [B,H,S] in front: bool, True where
    a key takes part, or numbers that are added. `padded`: M is at most T, and keys from M on take no part; else M is T, or 1
    for all keys. Of the keys the first lengths[b] take part.
    Query i has the position i + offset: `offset`, or else (length - S) with `bottom`, or else 0. `causal`: it sees keys up to
    its position; `left`, `right`: and those at most so far from it (-1: any). `sink`: exp(sink[h]) is one more term of the sum
    under each probability. `guard`: as GUARDS says; a query that sees no key gives zeros, or NaN with "none".
    Source: ONNX Attention; Xiao et al. 2023, arXiv 2309.17453 (sinks).
    """

    name = "attention"
    attributes = {"scale": 0.0, "softcap": 0.0, "causal": 0, "bottom": 0, "left": -1, "right": -1,
                  "inside": (0, 0, 0, 0), "scores": "", "guard": "empty", "padded": 1}

    @staticmethod
    def _logical(attrs: Mapping[str, Any], shape: Sequence[Any], which: int) -> tuple[Any, ...]:
        """A shape as [batch, heads, sequence, size]."""
        return (shape[0], shape[2], shape[1], shape[3]) if attrs["inside"][which] else tuple(shape)

    def sizes(self, attrs: Mapping[str, Any], inputs: list[Any]) -> tuple[Any, ...]:
        """(B, H, S, D, G, T, E) of specs or arrays, not checked."""
        q, k, v = (self._logical(attrs, x.shape, i) for i, x in enumerate(inputs[:3]))
        return (*q, k[1], k[2], v[3])

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        q, k, v, mask, lengths, offset, sink = take(inputs, 3, 7)
        integers("inside", attrs["inside"], 4, 0)
        numbers(attrs, "scale", "softcap")
        integers("left, right", (attrs["left"], attrs["right"]), 2, -1)
        word("scores", attrs["scores"], SCORES)
        word("guard", attrs["guard"], GUARDS)
        for name, spec in (("q", q), ("k", k), ("v", v)):
            check_dtype(name, spec, FLOATS)
            check_rank(name, spec, 4)
        check_same_dtype(q, k, v, sink, mask if mask is not None and mask.dtype != "bool" else None)
        b, h, s, d, g, t, e = self.sizes(attrs, [TensorSpec(x.dtype, x.dims) for x in (q, k, v)])
        check_shape("k", TensorSpec(k.dtype, self._logical(attrs, k.dims, 1)), (b, g, t, d))
        check_shape("v", TensorSpec(v.dtype, self._logical(attrs, v.dims, 2)), (b, g, t, e))
        if not divides(g, h):
            raise ShapeError(f"q is {q}, k is {k}: expected a multiple of {g} heads of q, got {h}")
        if mask is not None and (not 1 <= mask.rank <= 4 or not broadcasts_to(mask.dims[:-1], (b, h, s)) or not (
                at_least(t, mask.dims[-1]) if attrs["padded"] else broadcasts_to(mask.dims[-1:], (t,)))):
            raise ShapeError(f"mask is {mask}: expected one that broadcasts to [{b}, {h}, {s}], with up to {t} keys behind")
        for name, spec in (("lengths", lengths), ("offset", offset)):
            if spec is not None:
                check_dtype(name, spec, INDICES)
        check_shape("lengths", lengths, (b,))
        if offset is not None and (offset.rank != 1 or not assumed((offset.dims[0], "==", 1), (offset.dims[0], "==", b))):
            raise ShapeError(f"offset is {offset}: expected shape [1] or [{b}]")
        check_shape("sink", sink, (h,))
        y = (b, s, h, e) if attrs["inside"][3] else (b, h, s, e)
        return [TensorSpec(q.dtype, y), *([TensorSpec(q.dtype, (b, h, s, t))] if attrs["scores"] else [])]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return (None,) * 4

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        _, _, _, d, _, t, _ = self.sizes(attrs, inputs)
        return max(d, t)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        b, h, s, d, _, t, e = self.sizes(attrs, inputs)
        return b * h * s * t * (2 * d + 2 * e + 3)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        b, h, s, _, _, t, _ = self.sizes(attrs, inputs)
        return super().effort(attrs, inputs, outputs) + 8 * b * h * s * t

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any],
                 constants: list[Any]) -> tuple[int, int] | None:
        return (0, self.sizes(attrs, inputs)[5]) if position in (4, 5) else None

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        given = take(inputs, 3, 7)
        q, k, v = (x.swapaxes(1, 2) if attrs["inside"][i] else x for i, x in enumerate(widen(*given[:3])))
        mask, lengths, offset, sink = widen(given[3]), *given[4:6], widen(given[6])
        h, d, g = q.shape[1], q.shape[3], k.shape[1]
        k, v = (np.repeat(x, h // max(1, g), axis=1) for x in (k, v))
        products = np.matmul(q, k.swapaxes(2, 3)) * q.dtype.type(attrs["scale"] or 1 / np.sqrt(max(1, d)))
        cap = q.dtype.type(attrs["softcap"])
        capped = np.tanh(products / cap) * cap if cap > 0 else products
        masked = self._masked(attrs, capped, mask, lengths, offset)
        most = masked.max(-1, keepdims=True, initial=-np.inf)
        if sink is not None:
            most = np.maximum(most, sink[:, None, None])
        weights = np.exp(masked - np.where(np.isneginf(most), 0, most))
        total = weights.sum(-1, keepdims=True)
        if sink is not None:
            total = total + np.exp(sink[:, None, None] - most)
        with np.errstate(invalid="ignore"):
            weights = weights / (total if attrs["guard"] == "none" else np.where(total == 0, 1, total))
        if attrs["guard"] == "nan":
            weights = np.where(np.isnan(weights), weights.dtype.type(0), weights)
        y = np.matmul(weights, v)
        found = {"product": products, "softcap": capped, "masked": masked, "softmax": weights}
        results = [y.swapaxes(1, 2) if attrs["inside"][3] else y, *([found[attrs["scores"]]] if attrs["scores"] else [])]
        return [as_type(np.ascontiguousarray(x), given[0].dtype) for x in results]

    @staticmethod
    def _masked(attrs: Mapping[str, Any], scores: np.ndarray, mask: Any, lengths: Any, offset: Any) -> np.ndarray:
        """Scores [B,H,S,T] with what the mask adds, and minus infinity for keys that take no part."""
        s, t = scores.shape[2:]
        keys = np.arange(t)
        seen: Any = np.ones((1, 1, 1, t), bool)
        if mask is not None:
            mask = mask if attrs["padded"] else np.broadcast_to(mask, (*mask.shape[:-1], t))
            seen = seen & (keys < mask.shape[-1])
            added = np.zeros((*mask.shape[:-1], t), mask.dtype)
            added[..., :mask.shape[-1]] = mask
            scores, seen = (scores, seen & added) if mask.dtype == bool else (scores + added, seen)
        ends = np.full(1, t) if lengths is None else np.asarray(lengths, np.int64)
        seen = seen & (keys < ends.reshape(-1, 1, 1, 1))
        start = offset if offset is not None else ends - s if attrs["bottom"] else np.zeros(1, np.int64)
        place = np.arange(s)[:, None] + np.asarray(start, np.int64).reshape(-1, 1, 1, 1)
        if attrs["causal"]:
            seen = seen & (keys <= place)
        if attrs["left"] >= 0:
            seen = seen & (keys >= place - attrs["left"])
        if attrs["right"] >= 0:
            seen = seen & (keys <= place + attrs["right"])
        return np.where(seen, scores, scores.dtype.type(-np.inf))


class RotaryEmbedding(LayerKind):
    """Pairs of numbers turned by an angle for each position: (a, b) -> (a cos - b sin, a sin + b cos).

    Inputs: x [B,H,S,D], or [B,S,H,D] with `inside`; cos and sin [B,S,R], or [P,R] with positions [B,S], or [1] that of the
    first; negative ones count from the end of the tables. The first 2 R of each D numbers are turned: a is the first half of
    them and b the second, or with `interleaved` a the even and b the odd ones.
    Source: ONNX RotaryEmbedding; Su et al. 2021, arXiv 2104.09864.
    """

    name = "rotary_embedding"
    attributes = {"interleaved": 0, "inside": 0}
    per_element = 3

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, cos, sin, positions = take(inputs, 3, 4)
        check_dtype("x", x, FLOATS)
        check_rank("x", x, 4)
        check_same_dtype(x, cos, sin)
        b, s, d = x.dims[0], x.dims[1 if attrs["inside"] else 2], x.dims[3]
        check_rank("cos", cos, 3 if positions is None else 2)
        check_shape("sin", sin, cos.dims)
        if positions is None:
            check_shape("cos", cos, (b, s, cos.dims[2]))
        else:
            check_dtype("positions", positions, INDICES)
            if positions.rank != 1 or not equal(positions.dims[0], 1):
                check_shape("positions", positions, (b, s))
            if not at_least(cos.dims[0], 1):
                raise ShapeError(f"cos is {cos}: expected a row for some position")
        if not at_least(d, 2 * cos.dims[-1]):
            raise ShapeError(f"cos is {cos}: it turns {2 * cos.dims[-1]} numbers, x is {x}")
        return [x]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return shapes[0] if shapes else None

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any],
                 constants: list[Any]) -> tuple[int, int] | None:
        if position != 3:
            return None
        x, rows = inputs[0], inputs[1].shape[0]
        return 0, rows - (1 if inputs[3].rank == 2 else x.shape[1 if attrs["inside"] else 2])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        given, cos, sin, positions = take(inputs, 3, 4)
        x, cos, sin = widen(given, cos, sin)
        length = x.shape[1 if attrs["inside"] else 2]
        if positions is not None:
            at = positions if positions.ndim == 2 else (positions + np.arange(length))[None]
            cos, sin = cos[at], sin[at]
        half = cos.shape[-1]
        cos, sin = (c[:, :, None] if attrs["inside"] else c[:, None] for c in (cos, sin))
        y = x.copy()
        first, second = ((slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if attrs["interleaved"]
                         else (slice(0, half), slice(half, 2 * half)))
        y[..., first] = x[..., first] * cos - x[..., second] * sin
        y[..., second] = x[..., first] * sin + x[..., second] * cos
        return [as_type(y, given.dtype)]


class CacheAppend(Mover, ValueKind):
    """A cache of keys or values with new ones behind those that it holds.

    Inputs: cache [B,G,P,D], rows [B,G,S,D] or with `inside` [B,S,G,D], lengths [B], total? -> [B,G,max(P, total),D]. Of batch b
    lengths[b] rows are held afterwards: min(S, lengths[b]) new ones behind older ones. Rows from there on hold what the cache
    holds there, or zeros. `length`: total. Source: GroupQueryAttention of ONNX Runtime.
    """

    name = "cache_append"
    moves = slice(2)
    attributes = {"length": 0, "inside": 0}
    value_inputs = {3: "length"}

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return whole_number("the total length", array)

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return None

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        cache, rows, lengths = take(self.plain(inputs), 3)
        (length,) = integers("length", attrs["length"], 1)
        check_rank("cache", cache, 4)
        check_rank("rows", rows, 4)
        check_same_dtype(cache, rows)
        check_dtype("lengths", lengths, INDICES)
        b, g, p, d = cache.dims
        s = rows.dims[1 if attrs["inside"] else 2]
        check_shape("rows", rows, (b, s, g, d) if attrs["inside"] else (b, g, s, d))
        check_shape("lengths", lengths, (b,))
        return [TensorSpec(cache.dtype, (b, g, largest(p, length), d))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        cache = shapes[0]
        return None if cache is None else (*cache[:2], None, *cache[3:])

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any],
                 constants: list[Any]) -> tuple[int, int] | None:
        if position != 2 or not isinstance(attrs["length"], int):
            return None
        return 0, max(inputs[0].shape[2], attrs["length"])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        full, (cache, rows, lengths) = self.resolve(attrs, inputs)
        rows = rows.swapaxes(1, 2) if attrs["inside"] else rows
        b, g, p, d = cache.shape
        y = np.zeros((b, g, max(p, full["length"]), d), cache.dtype)
        y[:, :, :p] = cache
        for i, end in enumerate(lengths.tolist()):
            if end > y.shape[2]:
                raise IndexError(f"length {end} of batch {i}: expected at most {y.shape[2]}")
            end = max(0, end)
            new = min(rows.shape[2], end)
            y[i, :, end - new:end] = rows[i, :, :new]
        return [y]


class LinearAttention(LayerKind):
    """Attention whose keys and values are summed up in a state: S_t = exp(g_t) S_(t-1) + k_t (x) u_t, y_t = scale S_t' q_t.

    Inputs: q [B,T,H*D], k [B,T,G*D], v [B,T,G*E], state? [B,G*D,E], decay? g [B,T,G] or [B,T,G*D], rate? [B,T,G] or [B,T,1]
    -> y [B,T,H*E], state [B,G*D,E]. `heads` H, a multiple of `kv_heads` G. u_t = v_t; with a rate u_t = rate * (v_t - R' k_t),
    R being the state that has decayed. `scale`: 0 means 1 / sqrt(D). Sums are in f32 or f64.
    Source: ONNX LinearAttention; Yang et al. 2024, arXiv 2412.06464.
    """

    name = "linear_attention"
    attributes = {"heads": None, "kv_heads": None, "scale": 0.0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        q, k, v, state, decay, rate = take(inputs, 3, 6)
        heads, groups = integers("heads, kv_heads", (attrs["heads"], attrs["kv_heads"]), 2, 1)
        numbers(attrs, "scale")
        for name, spec in (("q", q), ("k", k), ("v", v)):
            check_dtype(name, spec, FLOATS)
            check_rank(name, spec, 3)
        check_same_dtype(q, k, v, state, decay, rate)
        if heads % groups or not (divides(heads, q.dims[2]) and divides(groups, v.dims[2])):
            raise ShapeError(f"q is {q}, v is {v}: expected {heads} heads of q and {groups} of v, and a multiple of these")
        b, t, d, e = q.dims[0], q.dims[1], q.dims[2] // heads, v.dims[2] // groups
        check_shape("k", k, (b, t, groups * d))
        check_shape("v", v, (b, t, groups * e))
        check_shape("state", state, (b, groups * d, e))
        for name, spec, widths in (("decay", decay, (groups, groups * d)), ("rate", rate, (1, groups))):
            if spec is not None and (spec.rank != 3 or not assumed(*((spec.dims[2], "==", w) for w in widths))):
                raise ShapeError(f"{name} is {spec}: expected [{b}, {t}, {widths[0]} or {widths[1]}]")
            check_shape(name, spec, (b, t, spec.dims[2] if spec is not None else 0))
        return [TensorSpec(q.dtype, (b, t, heads * e)), TensorSpec(q.dtype, (b, groups * d, e))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return (None,) * 3

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 2 * inputs[0].shape[1] * outputs[1].elements * (3 + attrs["heads"] // attrs["kv_heads"])

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return max(inputs[0].shape[1], inputs[0].shape[2] // int(attrs["heads"]))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        given = take(inputs, 3, 6)
        q, k, v, state, decay, rate = widen(*given)
        heads, groups = int(attrs["heads"]), int(attrs["kv_heads"])
        b, t = q.shape[:2]
        d, e = q.shape[2] // heads, v.shape[2] // groups
        q, k, v = q.reshape(b, t, groups, heads // groups, d), k.reshape(b, t, groups, d), v.reshape(b, t, groups, e)
        factor = q.dtype.type(attrs["scale"] or 1 / np.sqrt(max(1, d)))
        s = np.zeros((b, groups, d, e), q.dtype) if state is None else state.reshape(b, groups, d, e).copy()
        y = np.zeros((b, t, groups, heads // groups, e), q.dtype)
        for i in range(t):
            if decay is not None:
                s *= np.exp(decay[:, i].reshape(b, groups, -1))[..., None]
            u = v[:, i]
            if rate is not None:
                u = rate[:, i, :, None] * (u - np.einsum("bgde,bgd->bge", s, k[:, i]))
            s += k[:, i, :, :, None] * u[:, :, None]
            y[:, i] = factor * np.einsum("bghd,bgde->bghe", q[:, i], s)
        return [as_type(y.reshape(b, t, heads * e), given[0].dtype), as_type(s.reshape(b, groups * d, e), given[0].dtype)]


class CausalConv(LayerKind):
    """Convolution of each channel along a sequence with what lies before: y_t = bias + sum over j of w_j x_(t + j - K + 1).

    Inputs: x [B,C,L], w [C,1,K], bias? [C], state? [B,C,K-1], the last of the sequence before (zeros where it is absent) ->
    y [B,C,L], state [B,C,K-1]. Source: ONNX CausalConvWithState.
    """

    name = "causal_conv"
    attributes = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, bias, state = take(inputs, 2, 4)
        check_dtype("x", x, FLOATS)
        check_rank("x", x, 3)
        check_rank("w", w, 3)
        check_same_dtype(x, w, bias, state)
        b, c, _ = x.dims
        check_shape("w", w, (c, 1, w.dims[2]))
        if not at_least(w.dims[2], 1):
            raise ShapeError(f"w is {w}: expected a kernel of at least 1")
        check_shape("bias", bias, (c,))
        kept = TensorSpec(x.dtype, (b, c, w.dims[2] - 1))
        check_shape("state", state, kept.dims)
        return [TensorSpec(x.dtype, x.dims), kept]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[1].shape[2]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 2 * inputs[1].shape[2] * outputs[0].elements

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        given = take(inputs, 2, 4)
        x, w, bias, state = widen(*given)
        taps, length = w.shape[2], x.shape[2]
        before = np.zeros((*x.shape[:2], taps - 1), x.dtype) if state is None else state
        full = np.concatenate([before, x], 2)
        y = np.zeros_like(x) if bias is None else np.broadcast_to(bias[:, None], x.shape).copy()
        for j in range(taps):
            y += full[:, :, j:j + length] * w[:, 0, j, None]
        return [as_type(y, given[0].dtype), as_type(full[:, :, length:], given[0].dtype)]
