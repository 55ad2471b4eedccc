"""Dropout at inference: ONNX Runtime's own, told so."""


def _dropout(g, case, a, names):
    (x, ratio, training) = names
    (never,) = g.node("And", [training, *g.node("Not", [training])])
    return g.node("Dropout", [x, ratio, never], count=2)


OPERATORS = {"dropout": _dropout}
