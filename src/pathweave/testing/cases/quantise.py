"""Cases of linear quantisation and of products of integers."""

from __future__ import annotations

from collections.abc import Iterator

from ...net.net import TensorSpec
from .. import Attrs, Case, Shape, case


def _of(dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec(dtype, shape)


#: Shape of a value, axis, block, shape of its scale.
_GRANULARITIES: list[tuple[Shape, int, int, Shape]] = [
    ((2, 300), 1, 0, ()), ((5, 3, 7), 1, 0, (3,)), ((4, 33), -1, 0, (33,)), ((6, 5), 0, 0, (6,)), ((2, 3, 4, 5), 1, 0, (3,)),
    ((3, 40), 1, 16, (3, 3)), ((37, 5), 0, 8, (5, 5)), ((2, 9, 4), 1, 4, (2, 3, 4)), ((1, 16, 7, 9), 1, 0, (16,)),
    ((1, 3, 8, 9), 1, 0, ()), ((2, 32, 5, 3), 1, 0, ()), ((70,), 0, 0, (1,)), ((), 0, 0, ()), ((3, 5000), 0, 0, (3,))]


def _linear() -> Iterator[Case]:
    for shape, axis, block, scale in _GRANULARITIES:
        for dtype in ("u8", "i8", "i16", "u16") if scale in ((), (3, 3), (3,)) else ("u8",):
            point = _of(dtype, *scale)
            attrs: Attrs = {"axis": axis, "block": block}
            yield case("quantize_linear", shape, scale, point, dtype=dtype, **attrs, values=("ends:-1.5,30", "positive"))
            yield case("quantize_linear", shape, scale, point, dtype=dtype, **attrs, values=("wide", "positive"),
                       constant=(1, 2))
            yield case("dequantize_linear", _of(dtype, *shape), scale, point, **attrs, values=("", "positive"))
        yield case("quantize_linear", shape, scale, dtype="i8", axis=axis, block=block, values=("wide", "positive"))
        yield case("dequantize_linear", _of("i32", *shape), scale, axis=axis, block=block, values=("", "positive"))
    for through in ("f16", "bf16"):
        yield case("quantize_linear", (3, 500), (), _of("u8"), dtype="u8", through=through, values=("wide", "positive"))
    for bits in (2, 4):
        yield case("quantize_linear", (3, 50), (), dtype="i8", bits=bits, values=("wide", "positive"))
    yield case("quantize_linear", (9, 50), (), dtype="u8", values=("special", "positive"))
    yield case("quantize_linear", (0, 3), (), dtype="u8", values=("wide", "positive"))
    yield case("dequantize_linear", _of("u8", 3, 50), (), _of("u8"), constant=(1, 2), values=("", "positive"))
    for shape in ((3, 700), (1, 40), (2, 3, 4, 5), (2, 32, 5, 7), (30000,), ()):
        yield case("dynamic_scale", shape, values=("wide",))
    yield case("dynamic_scale", (4, 9), values=("positive",))
    yield case("dynamic_scale", (4, 9), values=("ends:0.0,-0.0",))


#: Shapes of two operands of a product.
_PRODUCTS: list[tuple[Shape, Shape]] = [
    ((5, 7), (7, 9)), ((33, 64), (64, 48)), ((1, 300), (300, 65)), ((2, 3, 40), (40, 20)), ((2, 9, 17), (2, 17, 33)),
    ((3, 1, 4, 8), (2, 8, 5)), ((70, 5), (5, 1)), ((16,), (16, 3)), ((4, 16), (16,)), ((17, 130), (130, 100))]


def _matmuls() -> Iterator[Case]:
    for a, b in _PRODUCTS:
        for s, t in (("u8", "i8"), ("u8", "u8"), ("i8", "i8"), ("i8", "u8")):
            yield case("matmul_integer", _of(s, *a), _of(t, *b), _of(s), _of(t), constant=(1, 3))
            yield case("matmul_integer", _of(s, *a), _of(t, *b))
    for a, b in _PRODUCTS[1:7]:
        n = b[-1]
        rows, columns = (*a[:-1], 1), (*b[:-2], 1, n)
        for known in ((), (1, 3, 4, 5, 6)):
            yield case("matmul_integer", _of("u8", *a), _of("i8", *b), _of("u8"), _of("i8", n), _of("i32", n), (n,),
                       dtype="f32", constant=known, values=("",) * 5 + ("positive",))
            yield case("matmul_integer", _of("i8", *a), _of("u8", *b), _of("i8"), _of("u8", n), _of("i32", n), (n,), _of("u8"),
                       dtype="u8", constant=known, values=("",) * 5 + ("scaled:1000000",))
        yield case("matmul_integer", _of("u8", *a), _of("u8", *b), _of("u8", *rows), _of("u8", *columns))
        yield case("matmul_integer", _of("i8", *a), _of("i8", *b), None, None, None, (), _of("i8"), dtype="i8",
                   values=("",) * 5 + ("scaled:100000",), constant=(1,))
        per_row = rows if len(a) < 4 else ()
        yield case("matmul_integer", _of("u8", *a), _of("i8", *b), _of("u8", *rows), None, None, per_row, dtype="f32",
                   values=("",) * 5 + ("positive",), constant=(1,))


#: Shape of the input and of the weights, attributes.
_CONVOLUTIONS: list[tuple[Shape, Shape, Attrs]] = [
    ((1, 3, 9, 8), (16, 3, 3, 3), {"pad": (1, 1, 1, 1), "stride": (2, 2)}), ((2, 8, 7, 7), (12, 8, 1, 1), {}),
    ((1, 6, 8, 9), (8, 3, 3, 2), {"groups": 2, "pad": (1, 0, 1, 1)}),
    ((1, 16, 9, 9), (16, 1, 3, 3), {"groups": 16, "pad": (1,) * 4}), ((1, 5, 12, 11), (33, 5, 3, 3), {"dilation": (2, 3)}),
    ((1, 4, 1, 40), (6, 4, 1, 5), {"stride": (1, 3), "pad": (0, 2, 0, 2)}),
    ((1, 17, 5, 5), (70, 17, 3, 3), {"pad": (1,) * 4}), ((1, 96, 7, 20), (96, 1, 3, 3), {"groups": 96, "pad": (1,) * 4}),
    ((2, 70, 9, 12), (70, 1, 5, 5), {"groups": 70, "pad": (2,) * 4, "stride": (2, 2)}),
    ((1, 24, 5, 9), (24, 1, 3, 3), {"groups": 24, "dilation": (2, 3)}),
    ((2, 8, 9, 9), (8, 4, 1, 1), {"groups": 2, "stride": (2, 2)}),
    ((1, 12, 6, 7), (40, 12, 2, 3), {}), ((2, 4, 6, 5), (8, 1, 3, 3), {"groups": 4, "stride": (2, 1)})]


def _convolutions() -> Iterator[Case]:
    for x, w, attrs in _CONVOLUTIONS:
        o = w[0]
        for s, t in (("u8", "i8"), ("u8", "u8"), ("i8", "i8"), ("i8", "u8")):
            yield case("conv_integer", _of(s, *x), _of(t, *w), _of(s), _of(t, o), constant=(1, 2, 3), **attrs)
            yield case("conv_integer", _of(s, *x), _of(t, *w), constant=(1,), **attrs)
        yield case("conv_integer", _of("u8", *x), _of("i8", *w), _of("u8"), None, _of("i32", o), (o,), _of("u8"), dtype="u8",
                   values=("",) * 5 + ("scaled:1000000",), constant=(1, 2, 4, 5, 6), **attrs)
        yield case("conv_integer", _of("i8", *x), _of("u8", *w), _of("i8"), _of("u8"), _of("i32", o), (), _of("i8"), dtype="i8",
                   values=("",) * 5 + ("scaled:1000000",), constant=(1, 4), **attrs)
        yield case("conv_integer", _of("u8", *x), _of("i8", *w), _of("u8"), None, None, (o,), dtype="f32",
                   values=("",) * 5 + ("positive",), **attrs)


def _few_bits() -> Iterator[Case]:
    for x, n, block in (((1, 64), 5, 32), ((3, 100), 33, 16), ((2, 7, 256), 64, 128), ((1, 1000), 130, 32), ((40, 96), 24, 32),
                        ((2, 72), 9, 24), ((1, 40), 6, 8)):
        depth = x[-1]
        blocks = -(-depth // block)
        for bits in (4, 8):
            w, scale = _of("u8", n, blocks, block * bits // 8), (n, blocks)
            attrs: Attrs = {"bits": bits, "block": block, "depth": depth}
            words = ("", "", "scaled:100")
            yield case("matmul_nbits", x, w, scale, constant=(1, 2), values=words, **attrs)
            points = _of("u8", n, -(-blocks * bits // 8))
            yield case("matmul_nbits", x, w, scale, points, (n,), constant=(1, 2, 3, 4), values=words, **attrs)
            yield case("matmul_nbits", x, w, scale, scale, constant=(1, 2, 3), values=(*words, "wide"), **attrs)
    yield case("matmul_nbits", (3, 32), _of("u8", 7, 1, 16), (7, 1), block=32, depth=32, values=("", "", "scaled:100"))


CASES = [*_linear(), *_matmuls(), *_convolutions(), *_few_bits()]
