"""What to do about operators that are not covered, by family: a sentence, and what it applies to (operator, reason)."""

from __future__ import annotations

from collections.abc import Callable

from ..refusals import UNKNOWN

_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
_SEQUENCES = ("Sequence", "SplitToSequence", "ConcatFromSequence", "Optional")
_STRINGS = ("String", "TfIdf", "RegexFullMatch", "LabelEncoder")

_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")


def _bare(operator: str) -> str:
    return operator.rpartition(":")[2]


def _custom(operator: str) -> bool:
    return ":" in operator and not operator.startswith(("ai.onnx.", "com.microsoft:"))


def _of_family(operator: str) -> bool:
    """True for an operator without a domain that has advice of its own."""
    return operator in (*_QUANTISED, *_RANDOM) or "QLinear" in operator or operator.startswith(_SEQUENCES + _STRINGS)


ADVICE: dict[str, Callable[[str, str], bool]] = {
    "Quantised operators (QDQ, QLinear): load the float32 model that this one was made from, and calibrate it here: "
    "model.calibrate(samples), or pathweave import --calibrate.":
        lambda op, _: _bare(op) in _QUANTISED or "QLinear" in op,
    "Other operators that are not supported yet: let the exporter write them with operators that are, or cut the model before "
    "or behind them, and compute them outside.":
        lambda op, reason: ":" not in op and reason == UNKNOWN and not _of_family(op),
    "Sequences and optionals: use tensors in their place, or take these nodes out of the model.":
        lambda op, _: _bare(op).startswith(_SEQUENCES),
    "Random numbers are out of scope: make them outside of the model, which takes them as an input.":
        lambda op, _: op in _RANDOM,
    "Strings: tokenise, or look labels up, outside of the model.":
        lambda op, reason: _bare(op).startswith(_STRINGS) or "(string)" in reason,
    "ai.onnx.ml: classical machine learning (trees, linear models) runs elsewhere; load the network alone.":
        lambda op, _: op.startswith("ai.onnx.ml:"),
    "com.microsoft: ONNX Runtime wrote this model after its own optimisations; load the one before them, or export with "
    "standard operators.":
        lambda op, _: op.startswith("com.microsoft:") and "QLinear" not in op and _bare(op) not in _QUANTISED,
    "Operators of other domains: export the model with standard ones, or keep their definitions in it as ONNX functions, "
    "which are inlined.":
        lambda op, _: _custom(op),
    "Attributes and inputs that are not known here: an older or newer opset may express the same without them "
    "(onnx.version_converter).":
        lambda _, reason: " are unknown here, and may" in reason,
    "Weights that the model computes from its inputs: export it for inference (training=False, do_constant_folding=True).":
        lambda _, reason: "is not a constant" in reason,
}
