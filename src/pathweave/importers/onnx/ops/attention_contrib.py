"""Attention as ONNX Runtime's own operators have it, of domain com.microsoft.

Source: ContribOperators.md of ONNX Runtime.
"""

from __future__ import annotations

import numpy as np

from ..node import Node
from .attention import NO_SCALE, attend, scale_of, size_of, with_heads

#: What a masked key gets added, where the node does not say it.
FILTER = -10000.0
#: Up to here a masked key beside one that is seen has the weight 0.
_NOTHING = -1000.0


def attention(n: Node) -> None:
    """Self-attention with the projection of its input."""
    n.required(2)
    heads = _heads(n, "num_heads")
    if n.int("do_rotary") or n.int("past_present_share_buffer") or n.input(6):
        n.unsupported("rotary embedding, or a past and a present in one buffer; export it with RotaryEmbedding and "
                      "MultiHeadAttention")
    n.ignore("rotary_embedding_dim")
    total = n.size(n.input(1), 1)
    if total is None:
        n.unsupported(f"the number of columns of its weights {n.input(1)!r} is not known; export it with constant weights")
    widths = n.ints("qkv_hidden_sizes", ()) or (total // 3,) * 3
    if len(widths) != 3 or sum(widths) != total or any(w < heads or w % heads for w in widths):
        raise ValueError(f"weights with {total} columns, qkv_hidden_sizes {widths}: expected multiples of {heads} heads that "
                         f"add up")
    parts = [n.emit("reshape", [x], {"shape": (0, 0, heads, w // heads)})
             for x, w in zip(_projected(n, n.input(0), widths), widths)]
    inside, past = [1, 1, 1, 1], n.input(4)
    if past or n.reads_output(1):
        for i in (1, 2):
            parts[i], inside[i] = n.emit("transpose", [parts[i]], {"perm": (0, 2, 1, 3)}), 0
            if past:
                before = n.emit("gather", [past, n.constant(np.array(i - 1, np.int64))], {"axis": 0})
                parts[i] = n.emit("concat", [before, parts[i]], {"axis": 2})
        if n.reads_output(1):
            both = [n.emit("unsqueeze", [x], {"axes": (0,)}) for x in parts[1:]]
            n.builder.add_layer(f"{n.name}/{n.outputs[1]}", "concat", both, [n.outputs[1]], {"axis": 0})
    mask, lengths = _mask_of(n, n.input(3), parts, inside)
    attrs = {"inside": tuple(inside), **scale_of(n), "causal": int(n.int("unidirectional") != 0)}
    offset = size_of(n, past, 3) if past and attrs["causal"] else ""
    attend(n, [*parts, _sum(n, mask, n.input(5)), lengths, offset], attrs, True)


def _heads(n: Node, name: str) -> int:
    heads = n.int(name)
    if heads < 1:
        raise ValueError(f"{name}={heads}: expected at least 1")
    return heads


def _projected(n: Node, x: str, widths: tuple[int, ...]) -> list[str]:
    """Queries, keys and values: x times the three parts of the weights, plus those of the bias."""
    weights, bias = n.computed(1), n.computed(2)
    ends = np.cumsum(widths)
    if weights is None or n.input(2) and bias is None:
        y = n.emit("matmul", [x, n.input(1)])
        y = n.emit("add", [y, n.input(2)]) if n.input(2) else y
        return [_columns(n, y, end - w, end) for w, end in zip(widths, ends)]
    w, b = n.builder.constants[weights], n.builder.constants[bias] if bias else None
    return [n.emit("dense", [x, n.constant(np.ascontiguousarray(w[:, end - width:end].T)),
                             *([n.constant(b[end - width:end].copy())] if b is not None else [])])
            for width, end in zip(widths, ends)]


def _columns(n: Node, x: str, first: int, last: int, axis: int = 2) -> str:
    return n.emit("slice", [x], {"starts": (int(first),), "ends": (int(last),), "axes": (axis,), "steps": (1,)})


def _mask_of(n: Node, mask: str, parts: list[str], inside: list[int]) -> tuple[str, str]:
    """(mask to add, lengths) of an integer mask: [B] lengths, [2B] ends and starts, [B,T], or [B,S,T]."""
    if not mask:
        n.ignore("mask_filter_value")
        return "", ""
    filler = n.float("mask_filter_value", FILTER)
    if n.rank(mask) == 1:
        batch, length = n.size(parts[0], 0), n.size(mask, 0)
        specs = n.builder.shapes.specs
        same = mask in specs and parts[0] in specs and specs[mask].dims[0] == specs[parts[0]].dims[0]
        if same or batch is not None and length == batch:
            return _before(n, mask, size_of(n, parts[1], 1 if inside[1] else 2), filler)
        if batch is not None and length == 2 * batch:
            return _between(n, mask, batch, parts, inside, filler), ""
        n.unsupported("a mask_index with one axis that is neither [batch_size] nor [2 * batch_size], or not known to be")
    if n.rank(mask) > 3:
        n.unsupported("a mask_index with four axes")
    y = _added(n, mask, filler)
    return n.emit("unsqueeze", [y], {"axes": (1,) if n.rank(mask) == 3 else (1, 2)}), ""


def _added(n: Node, mask: str, filler: float) -> str:
    """0 where an integer mask is positive, else `filler`."""
    seen = n.emit("greater", [mask, n.number(0, mask)])
    return n.emit("where", [seen, n.constant(np.float32(0)), n.constant(np.float32(filler))])


def _before(n: Node, lengths: str, count: str, filler: float) -> tuple[str, str]:
    """(mask [B,1,1,T] to add, lengths or "") that mask the keys from `lengths` [B] on. Of a length of 0 every key is masked
    alike, so that all of them are seen."""
    lengths = n.emit("cast", [lengths], {"dtype": "i64"})
    ends = n.emit("reshape", [lengths], {"shape": (-1, 1, 1, 1)})
    zero, masked = n.constant(np.float32(0)), n.constant(np.float32(filler))
    if filler > _NOTHING:
        return n.emit("where", [n.emit("less", [_range(n, count), ends]), zero, masked]), ""
    none = n.constant(np.int64(0))
    mask = n.emit("where", [n.emit("greater", [ends, none]), zero, masked])
    mask = n.emit("expand", [mask, n.emit("concat", [n.constant([1, 1, 1]), count], {"axis": 0})])
    return mask, n.emit("where", [n.emit("greater", [lengths, none]), lengths, count])


def _between(n: Node, mask: str, batch: int, parts: list[str], inside: list[int], filler: float) -> str:
    """[B,1,1,T]: 0 from the starts (the second half of the mask) to the ends (its first half), else `filler`."""
    ends, starts = (n.emit("reshape", [n.emit("cast", [_columns(n, mask, a, a + batch, 0)], {"dtype": "i64"})],
                           {"shape": (batch, 1, 1, 1)}) for a in (0, batch))
    keys = _range(n, size_of(n, parts[1], 1 if inside[1] else 2))
    seen = n.emit("logical_and", [n.emit("less", [keys, ends]), n.emit("greater_equal", [keys, starts])])
    return n.emit("where", [seen, n.constant(np.float32(0)), n.constant(np.float32(filler))])


def _range(n: Node, count: str) -> str:
    """0 to count - 1, as i64."""
    limit = n.emit("reshape", [count], {"shape": ()})
    return n.emit("range", [n.constant(np.int64(0)), limit, n.constant(np.int64(1))])


def _sum(n: Node, a: str, b: str) -> str:
    """The sum of two masks of which either may be absent."""
    return n.emit("add", [a, b]) if a and b else a or b


def multi_head_attention(n: Node) -> None:
    """Attention of projected queries, keys and values."""
    n.required(1)
    heads = _heads(n, "num_heads")
    q, k, v, bias, past = n.input(0), n.input(1), n.input(2), n.input(3), [n.input(6), n.input(7)]
    if n.input(8) or n.input(9):
        n.unsupported("a past and a present in one buffer")
    if n.reads_output(3):
        n.unsupported("its output of scores is read")
    parts, inside = _given(n, q, k, v, heads)
    if bias:
        parts = _biased(n, parts, inside, bias, heads)
    for i in (1, 2):
        if (past[0] or n.reads_output(i)) and inside[i]:
            parts[i], inside[i] = n.emit("transpose", [parts[i]], {"perm": (0, 2, 1, 3)}), 0
        if past[0]:
            parts[i] = n.emit("concat", [past[i - 1], parts[i]], {"axis": 2})
        n.result(i, "identity", [parts[i]])
    mask, lengths = _mask_of(n, n.input(4), parts, inside)
    attrs = {"inside": tuple(inside), **scale_of(n), "causal": int(n.int("unidirectional") != 0)}
    offset = size_of(n, past[0], 2) if past[0] and attrs["causal"] else ""
    attend(n, [*parts, _sum(n, mask, n.input(5)), lengths, offset], attrs, True)


def _given(n: Node, q: str, k: str, v: str, heads: int) -> tuple[list[str], list[int]]:
    """Queries, keys and values of one of the forms of MultiHeadAttention with four axes, and which have their heads inside."""
    if not k:  # [B,S,N,3,D]
        return [_packed(n, q, i) for i in range(3)], [1, 1, 1, 1]
    if n.rank(k) == 5:  # [B,L,N,2,D]
        return [with_heads(n, q, heads), *(_packed(n, k, i) for i in range(2))], [1, 1, 1, 1]
    if not v:
        raise ValueError("its value is missing")
    if n.rank(k) == 4:  # [B,N,L,D]
        return [with_heads(n, q, heads), k, v], [1, 0, 0, 1]
    return [with_heads(n, x, heads) for x in (q, k, v)], [1, 1, 1, 1]


def _packed(n: Node, x: str, index: int) -> str:
    return n.emit("gather", [x, n.constant(np.array(index, np.int64))], {"axis": 3})


def _biased(n: Node, parts: list[str], inside: list[int], bias: str, heads: int) -> list[str]:
    """Parts with heads inside plus their part of a bias [N * D + N * D + N * E]; keys of a cache have theirs."""
    size, values = n.size(parts[0], 3), n.size(parts[2], 3)
    if size is None or values is None:
        n.unsupported("the widths of its inputs are not known")
    widths = [heads * size, heads * size, heads * values]
    first, found = 0, []
    for part, width, swap in zip(parts, widths, inside):
        own = n.emit("reshape", [_columns(n, bias, first, first + width, 0)], {"shape": (heads, width // heads)})
        found.append(n.emit("add", [part, own]) if swap else part)
        first += width
    return found


def group_query_attention(n: Node) -> None:
    """Attention of few heads of keys and values, with a cache that it appends to."""
    n.required(1)
    heads, groups = _heads(n, "num_heads"), _heads(n, "kv_num_heads")
    _refuse(n)
    q, k, v = n.input(0), n.input(1), n.input(2)
    if not k:  # packed
        width = n.size(q, 2)
        if width is None:
            n.unsupported(f"the width of its packed query {q!r} is not known")
        if width % (heads + 2 * groups):
            raise ValueError(f"packed query {q!r} has {width} numbers for {heads + 2 * groups} heads")
        size = width // (heads + 2 * groups)
        ends = np.cumsum([heads, groups, groups]) * size
        q, k, v = (_columns(n, q, last - c * size, last) for c, last in zip((heads, groups, groups), ends))
    lengths = n.emit("add", [n.emit("cast", [n.input(5)], {"dtype": "i64"}), n.constant(np.array([1], np.int64))])
    lengths = n.emit("reshape", [lengths], {"shape": (-1,)})
    parts = [with_heads(n, x, c) for x, c in zip((q, k, v), (heads, groups, groups))]
    zero = n.constant(np.array([0], np.int64))
    offset = n.emit("maximum", [n.emit("sub", [lengths, size_of(n, parts[0], 1)]), zero])
    if n.int("do_rotary"):
        parts[:2] = [_turned(n, x, offset) for x in parts[:2]]
    else:
        n.ignore("rotary_interleaved")
        n.ignore_inputs(7, 8, 9)
    for i, past in ((1, n.input(3)), (2, n.input(4))):
        parts[i] = _appended(n, past, parts[i], lengths, groups)
        n.result(i, "identity", [parts[i]])
    causal, window = n.int("causal", 1), n.int("local_window_size", -1)
    attrs = {"causal": causal, "softcap": n.float("softcap"), "inside": (1, 0, 0, 1), **scale_of(n),
             "left": window - 1 if window > 0 else -1}
    if attrs.get("scale") == NO_SCALE:  # 0 stands for the usual scale here
        del attrs["scale"]
    sink = n.input(11)
    if not sink and n.int("smooth_softmax") > 0:
        sink = n.constant(np.zeros(heads, np.float32))
    n.ignore("smooth_softmax")
    attend(n, [*parts, n.input(10), lengths, offset, sink], attrs, True)


def _refuse(n: Node) -> None:
    """What GroupQueryAttention may have and is not covered."""
    if any(n.input(i) for i in (12, 13, 14, 15, 16)) or n.int("sliding_window_cache"):
        n.unsupported("a quantised or sliding cache, normalised queries, or query_seqlens")
    if n.reads_output(3) or n.int("qk_output"):
        n.unsupported("its output of scores")
    for name in ("k_quant_type", "v_quant_type"):
        if n.has(name) and n.text(name) not in ("", "NONE"):
            n.unsupported("a quantised cache")
    n.ignore("qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon", "kv_cache_bit_width")
    if not n.input(5) or not n.input(6):
        raise ValueError("seqlens_k or total_sequence_length is missing")


def _turned(n: Node, x: str, offset: str) -> str:
    """Queries or keys [B,S,N,D] with the embedding of their positions, which are given or begin at `offset` [B]."""
    positions = n.input(9)
    if not n.input(7) or not n.input(8):
        raise ValueError("do_rotary needs cos_cache and sin_cache")
    if not positions:
        steps = _range(n, size_of(n, x, 1))
        positions = n.emit("add", [n.emit("reshape", [offset], {"shape": (-1, 1)}), steps])
    return n.emit("rotary_embedding", [x, n.input(7), n.input(8), positions],
                  {"interleaved": n.int("rotary_interleaved"), "inside": 1})


def _appended(n: Node, past: str, rows: str, lengths: str, groups: int) -> str:
    """The present cache of keys or values."""
    if not past:
        n.ignore_inputs(6)
        return n.emit("transpose", [rows], {"perm": (0, 2, 1, 3)})
    return n.emit("cache_append", [past, rows, lengths, n.input(6)], {"inside": 1})


def rotary_embedding(n: Node) -> None:
    """Rotary position embedding; one position is that of the first of all sequences."""
    n.required(4)
    if n.int("is_packed_batching"):
        n.unsupported("ragged batches")
    x, positions = n.input(0), n.input(1)
    if n.has("scale") and n.float("scale", 1.0) != 1:
        n.unsupported("a scale")
    width, heads = n.int("rotary_embedding_dim"), n.int("num_heads")
    flat = n.rank(x) == 3
    y = x
    if flat:
        y = with_heads(n, x, heads or _heads_of(n, x, width))
    y = n.emit("rotary_embedding", [y, n.input(2), n.input(3), positions],
               {"interleaved": n.int("interleaved"), "inside": int(flat)}, last=not flat)
    if flat:
        total = n.size(x, 2)
        n.emit("reshape", [y], {"shape": (0, 0, -1 if total is None else total)}, last=True)


def _heads_of(n: Node, x: str, width: int) -> int:
    """How many heads x [B,S,N*D] has where the tables turn all D numbers of each."""
    columns, size = n.size(n.input(2), 1), n.size(x, 2)
    if width or columns == 0:
        raise ValueError("num_heads is missing")
    if columns is None or size is None:
        n.unsupported("num_heads is missing, and the sizes of its input and of cos_cache, which stand for it, are not known")
    return size // (2 * columns)


OPERATORS = {
    "com.microsoft:Attention": attention, "com.microsoft:MultiHeadAttention": multi_head_attention,
    "com.microsoft:GroupQueryAttention": group_query_attention, "com.microsoft:RotaryEmbedding": rotary_embedding,
}
