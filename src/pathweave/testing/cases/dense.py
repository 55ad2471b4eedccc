"""Cases of dense and matmul."""

from __future__ import annotations

from typing import Any

from ...net.net import TensorSpec
from .. import Case, Shape, case


def dense(x: Shape, out: int, bias: bool = True, **rest: Any) -> Case:
    """A dense case from x's shape and the number of outputs."""
    return case("dense", x, (out, x[-1]), *([(out,)] if bias else []), constant=(1, 2), **rest)


CASES = [
    *(dense((n, k), m) for n, k, m in (
        (1, 1, 1), (1, 16, 16), (1, 17, 31), (1, 64, 10), (1, 576, 100), (1, 512, 1000), (1, 1000, 7), (1, 3, 1000),
        (3, 64, 40), (4, 128, 1000), (4, 33, 17), (8, 100, 24), (16, 64, 64), (33, 48, 65), (64, 96, 48), (7, 1, 5))),
    dense((1, 64), 48, bias=False), dense((4, 64), 48, bias=False), dense((2, 3, 24), 40), dense((3, 2, 2, 16), 17),
    dense((16,), 24), dense((1, 4096), 128),
    *(dense((1, 64), 40, epilogue=e) for e in ("relu", "clip:0.0:6.0", "hard_swish", "sigmoid", "gelu:0.0", "tanh",
                                               "hard_sigmoid:0.1666667:0.5", "add", "add+relu", "leaky_relu:0.1")),
    *(dense((4, 48), 33, epilogue=e) for e in ("relu", "add", "add+relu", "silu")),
    dense((5, 24), 16, bias=False, epilogue="add+relu"),
    # bytes at their ends, with zero points 0 and 255
    *(dense((n, k), 37, values=(x, "ends:-1,1")) for x in ("ends:0,255", "ends:-255,0") for n, k in ((1, 1003), (15, 131))),

    case("matmul", (7, 16), (16, 24)), case("matmul", (1, 64), (64, 10)), case("matmul", (33, 17), (17, 31)),
    case("matmul", (3, 7, 16), (3, 16, 24)), case("matmul", (2, 3, 7, 16), (2, 3, 16, 8)),
    case("matmul", (2, 3, 7, 16), (16, 8)), case("matmul", (2, 1, 7, 16), (3, 16, 8)), case("matmul", (16,), (16, 8)),
    case("matmul", (7, 16), (16,)), case("matmul", (16,), (16,)), case("matmul", (3, 7, 16), (16, 24), constant=(1,)),
    case("matmul", (64, 64), (64, 96), constant=(1,)), case("matmul", (24, 16), (3, 16, 7), constant=(0,)),
    case("matmul", (7, 16), (16, 24), epilogue="relu"), case("matmul", (7, 16), (16, 24), epilogue="add"),
    # both values, one constant: sizes around the tiles, broadcasting on either side, long sums, one column, one row
    *(case("matmul", (m, k), (k, n), constant=c) for m, k, n in ((1, 33, 47), (2, 16, 1), (13, 5, 3), (12, 64, 32),
                                                                 (25, 600, 49), (49, 128, 100), (1, 1030, 130))
      for c in ((), (1,))),
    case("matmul", (6, 33), (33, 17), constant=(0,)), case("matmul", (65, 40), (40,)),
    case("matmul", (40, 30), (30, 1)),
    case("matmul", (12, 50, 64), (12, 64, 50)), case("matmul", (4, 12, 50, 8), (4, 12, 8, 50), epilogue="add+relu"),
    case("matmul", (4, 1, 5, 6), (3, 6, 7)), case("matmul", (1, 3, 5, 6), (4, 1, 6, 7), constant=(1,)),
    case("matmul", (5, 6), (2, 3, 6, 7)), case("matmul", (2, 3, 6), (6, 1)), case("matmul", (3, 9, 40), (3, 40, 1)),
    case("matmul", (2, 1, 9, 20), (3, 20, 1), epilogue="add"), case("matmul", (20,), (3, 20, 9)),
    case("matmul", (3, 9, 20), (20,), epilogue="silu"), case("matmul", (2, 5, 4, 3, 6), (5, 1, 6, 8)),
    case("matmul", (3, 40, 24), (24, 33), constant=(1,), epilogue="add+relu"),
    case("matmul", (7, 16), (16, 24), epilogue="gelu:0.0"),
    case("matmul", (8, 6, 6), (8, 6, 6), epilogue="clip:0.0:6.0"),
    case("matmul", (3, 8), (8, 40), values=("special", "special")),
    # large enough to be halved once and twice, odd in every dimension, and both
    *(case("matmul", (m, k), (k, n), constant=c) for m, k, n in ((67, 71, 99), (64, 129, 65), (131, 150, 141),
                                                                 (128, 135, 200)) for c in ((), (1,))),
    # more weights than a core's cache holds, in several passes over the depth
    dense((70, 1100), 410, epilogue="add+relu"), dense((7, 1100), 410, epilogue="gelu:0.0"),
    case("matmul", (70, 1100), (1100, 410), constant=(1,)), case("matmul", (2, 9, 1100), (2, 1100, 410)),
    case("matmul", (2, 70, 66), (66, 75), epilogue="gelu:0.0"), case("matmul", (150, 131), (131, 133), epilogue="relu"),
    dense((70, 65), 67, epilogue="relu"), dense((2, 67, 129), 135, epilogue="hard_swish"), dense((130, 600), 129),
    dense((140, 131), 133, bias=False), dense((70, 65), 67, epilogue="add+relu"),
    case("matmul", (1, 8), (8, 40), values=("special", "special")), case("matmul", (1, 1030), (1030, 600)),
    case("matmul", (3, 1, 20), (3, 20, 75), epilogue="add+silu"), case("matmul", (20,), (20, 9), epilogue="relu"),
    case("matmul", (1, 1), (1, 1)), case("matmul", (5, 1), (1, 5)), case("matmul", (128, 64), (64, 128)),
    # bytes of two values at their ends: zero points 0 and 255, and sums near the end of 32 bits
    *(case("matmul", (m, k), (k, n), values=(a, b)) for a in ("ends:0,255", "ends:-255,0")
      for b in ("ends:0,255", "ends:-255,0", "ends:-128,127") for m, k, n in ((5, 131, 37), (14, 260, 67))),
    *(case("matmul", (2, 33000), (33000, 9), values=("ends:1", b)) for b in ("ends:1", "ends:-1")),
    case("matmul", TensorSpec("i32", (4, 5)), TensorSpec("i32", (5, 6)), values=("integral", "integral")),
    case("matmul", TensorSpec("i64", (2, 4, 5)), TensorSpec("i64", (5, 6)), values=("integral", "integral")),
]
