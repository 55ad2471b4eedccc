"""Attention, rotary embedding, and what decoders keep from call to call."""

from __future__ import annotations

from ..node import Node

#: What `attention` gives as its second output for each qk_matmul_output_mode.
MODES = ("product", "softcap", "masked", "softmax")
#: A scale of 0 that a file states: 0 has another meaning in the layer, and this gives 0 in every product of float32.
NO_SCALE = 1e-300


def attention(n: Node) -> None:
    """Scaled dot-product attention of [batch, heads, sequence, size], or [batch, sequence, heads * size]."""
    n.required(3)
    n.ignore("softmax_precision")  # it is float32 or above here
    given = [n.input(i) for i in range(3)]
    mask, past, lengths = n.input(3), [n.input(4), n.input(5)], n.input(6)
    flat, inside = n.rank(given[0]) == 3, [0, 0, 0, 0]
    if bool(past[0]) != bool(past[1]) or past[0] and lengths:
        raise ValueError("past_key and past_value go together, and without nonpad_kv_seqlen")
    attrs = {"causal": n.int("is_causal"), "softcap": n.float("softcap"), "left": n.int("left_window_size", -1),
             "right": n.int("right_window_size", -1), **scale_of(n)}
    heads = [n.int("q_num_heads"), n.int("kv_num_heads"), n.int("kv_num_heads")]
    offset = ""
    if (attrs["causal"] or attrs["left"] >= 0 or attrs["right"] >= 0) and (past[0] or lengths):
        axis = 1 if flat else 2
        if lengths or same_size(n, given[0], axis, given[1], axis):
            attrs["bottom"] = 1
        else:
            offset = size_of(n, past[0], 2)
    if flat:
        given = [with_heads(n, x, count) for x, count in zip(given, heads)]
        inside = [1, 1, 1, 1]
    kept = [n.reads_output(1), n.reads_output(2)]
    for i in (1, 2):
        if (past[0] or kept[i - 1]) and inside[i]:
            given[i], inside[i] = n.emit("transpose", [given[i]], {"perm": (0, 2, 1, 3)}), 0
        if past[0]:
            given[i] = n.emit("concat", [past[i - 1], given[i]], {"axis": 2})
        if kept[i - 1]:
            n.result(i, "identity", [given[i]])
    attend(n, [*given, float_mask(n, mask), lengths, offset], {**attrs, "inside": tuple(inside)}, flat,
           MODES[n.int("qk_matmul_output_mode")] if n.reads_output(3) else "")


def attend(n: Node, inputs: list[str], attrs: dict, flat: bool, scores: str = "") -> None:
    """The layer; `flat`: its heads, which lie inside, become one axis; `scores`: what output 3 of the node holds."""
    y = n.builder.fresh(f"{n.name}:attention") if flat else n.outputs[0] or n.builder.fresh(f"{n.name}:attention")
    while not inputs[-1]:
        inputs = inputs[:-1]
    n.builder.add_layer(f"{n.name}/attention" if flat else n.name, "attention", inputs,
                        [y, n.outputs[3]] if scores else [y], {**attrs, "scores": scores})
    if flat:
        n.emit("reshape", [y], {"shape": _flat_shape(n, inputs)}, last=True)


def _flat_shape(n: Node, inputs: list[str]) -> tuple[int, ...]:
    """[batch, sequence, heads * size] of y, where that is known a number, which is right in an empty one too."""
    heads, size = n.size(inputs[0], 2), n.size(inputs[2], 3)
    return (0, 0, heads * size if heads and size else -1)


def scale_of(n: Node) -> dict:
    """The attribute `scale`, where the node states one."""
    return {"scale": n.float("scale") or NO_SCALE} if n.has("scale") else {}


def with_heads(n: Node, x: str, heads: int) -> str:
    """[batch, sequence, heads * size] as [batch, sequence, heads, size]."""
    if heads < 1:
        raise ValueError("its inputs have three axes: expected q_num_heads and kv_num_heads of at least 1")
    width = n.size(x, 2)
    if width is not None and width % heads:
        raise ValueError(f"{x!r} has {width} numbers for {heads} heads")
    return n.emit("reshape", [x], {"shape": (0, 0, heads, -1 if width is None else width // heads)})


def float_mask(n: Node, mask: str) -> str:
    """A mask as bool, or in float32 where it holds integers to add."""
    dtype = n.dtype(mask) if mask else None
    return n.emit("cast", [mask], {"dtype": "f32"}) if dtype and dtype not in ("bool", "f32", "f64") else mask


def same_size(n: Node, a: str, axis_a: int, b: str, axis_b: int) -> bool:
    """Whether two values are known to have the same size along an axis each."""
    specs = n.builder.shapes.specs
    return a in specs and b in specs and specs[a].dims[axis_a] == specs[b].dims[axis_b]


def size_of(n: Node, x: str, axis: int) -> str:
    """A size of a value, as i64[1]."""
    return n.emit("shape", [x], {"start": axis, "end": axis + 1})


def rotary_embedding(n: Node) -> None:
    """Rotary position embedding."""
    n.required(3)
    x, heads = n.input(0), n.int("num_heads")
    attrs = {"interleaved": n.int("interleaved")}
    flat = n.rank(x) == 3
    width = n.int("rotary_embedding_dim")
    tables = n.shape(n.input(1))
    if width and tables and tables[-1] is not None and 2 * tables[-1] != width:
        raise ValueError(f"rotary_embedding_dim={width}: cos_cache has {tables[-1]} columns, expected {width // 2}")
    inputs = [with_heads(n, x, heads) if flat else x, n.input(1), n.input(2), n.input(3)]
    y = n.emit("rotary_embedding", inputs, {**attrs, "inside": int(flat)}, last=not flat)
    if flat:
        total = n.size(x, 2)
        n.emit("reshape", [y], {"shape": (0, 0, -1 if total is None else total)}, last=True)


def linear_attention(n: Node) -> None:
    """Linear attention with a recurrent state."""
    n.required(3)
    n.ignore("chunk_size")
    rule = n.text("update_rule", "gated_delta")
    if rule not in ("linear", "gated", "delta", "gated_delta"):
        raise ValueError(f"update_rule={rule!r}")
    decay, rate = n.input(4), n.input(5)
    if bool(decay) != rule.startswith("gated") or bool(rate) != rule.endswith("delta"):
        raise ValueError(f"update_rule={rule!r} does not fit its inputs decay {decay!r} and beta {rate!r}")
    heads, groups = n.int("q_num_heads"), n.int("kv_num_heads")
    q, v, state = n.input(0), n.input(2), n.input(3)
    if heads < 1 or groups < 1:
        raise ValueError(f"q_num_heads={heads}, kv_num_heads={groups}: expected at least 1")
    rows, columns = n.size(q, 2), n.size(v, 2)
    if rows is None or columns is None:
        n.unsupported("the widths of its query and value are not known")
    attrs = {"heads": heads, "kv_heads": groups, "scale": n.float("scale")}
    size, values = rows // heads, columns // groups
    if state:
        n.builder.types.declare(n.outputs[1], n.file_type(state) or "f32")
        state = n.emit("reshape", [state], {"shape": (0, groups * size, values)})
    inputs = [q, n.input(1), v, state, decay, rate]
    while not inputs[-1]:
        inputs.pop()
    kept = n.builder.fresh(f"{n.name}:state")
    n.builder.add_layer(n.name, "linear_attention", inputs, [n.outputs[0] or n.builder.fresh(f"{n.name}:y"), kept], attrs)
    if n.uses_output(1):
        n.builder.add_layer(f"{n.name}/{n.outputs[1]}", "reshape", [kept], [n.outputs[1]],
                            {"shape": (0, groups, size, values)})


def causal_conv(n: Node) -> None:
    """Causal depthwise convolution with a state."""
    n.required(2)
    activation = n.text("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise ValueError(f"activation={activation!r}")
    inputs = [n.input(i) for i in range(4)]
    if activation == "none":
        return n.emit("causal_conv", inputs, last=True, count=2)
    while not inputs[-1]:
        inputs.pop()
    y, kept = n.builder.fresh(f"{n.name}:convolution"), n.outputs[1] if n.uses_output(1) else ""
    n.builder.add_layer(f"{n.name}/convolution", "causal_conv", inputs, [y, kept or n.builder.fresh(f"{n.name}:state")], {})
    n.emit("silu", [y], last=True)



OPERATORS = {
    "Attention": attention, "RotaryEmbedding": rotary_embedding, "LinearAttention": linear_attention,
    "CausalConvWithState": causal_conv,
}
