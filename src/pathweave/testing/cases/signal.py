"""Cases of Fourier transforms, windows and mel bands."""

from __future__ import annotations

from collections.abc import Iterator

from ...net.net import TensorSpec
from .. import Case, case

_HANN, _HAMMING, _BLACKMAN = (0.5, 0.5, 0.0), (25 / 46, 21 / 46, 0.0), (0.42, 0.5, 0.08)
#: Lengths with factors of all kinds: none, powers of 2, 3 and 5, other primes, a large prime.
_LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 25, 30, 49, 60, 64, 97, 128, 200, 256, 400)


def _cases() -> Iterator[Case]:
    for n in _LENGTHS:
        yield case("dft", (3, n, 2), axis=1)
        yield case("dft", (2, n, 1), axis=1, onesided=1)
    for n in (2, 7, 9, 16, 65, 201):
        yield case("dft", (2, n, 2), axis=-2, inverse=1)
        yield case("dft", (2, n, 2), axis=-2, inverse=1, onesided=1)
        yield case("dft", (2, n, 1), axis=1, inverse=1)
        yield case("dft", (2, n, 1), axis=1)
    for length in (4, 9, 16):
        for parts, onesided, inverse in ((2, 0, 0), (1, 1, 0), (1, 0, 1), (2, 1, 1)):
            yield case("dft", (2, 9, parts), axis=1, length=length, onesided=onesided, inverse=inverse)
    for axis in (0, 1, 2, -2, -3):
        yield case("dft", (6, 10, 5, 2), axis=axis)
    yield case("dft", (12, 1), axis=0, onesided=1)
    yield case("dft", (4, 1024, 1), axis=1, onesided=1)
    yield case("dft", TensorSpec("f64", (2, 36, 2)), axis=1)
    for onesided in (0, 1):
        yield case("stft", (2, 100, 1), step=7, length=16, onesided=onesided)
        yield case("stft", (1, 100, 1), (16,), step=8, onesided=onesided)
        yield case("stft", (1, 90, 1), (15,), step=5, onesided=onesided, constant=(1,))
    yield case("stft", (1, 60, 2), (20,), step=10, onesided=0)
    yield case("stft", (3, 800, 1), (400,), step=160, constant=(1,))
    yield case("stft", (1, 33, 1), step=4)
    yield case("stft", TensorSpec("f64", (1, 64, 1)), TensorSpec("f64", (32,)), step=16)
    for coefficients in (_HANN, _HAMMING, _BLACKMAN):
        for periodic in (0, 1):
            yield case("window", size=10, coefficients=coefficients, periodic=periodic)
    yield case("window", size=33, coefficients=_HANN, dtype="f64")
    yield case("mel_weights", bands=8, length=16, rate=8192, lower=0.0, upper=4096.0)
    yield case("mel_weights", bands=40, length=512, rate=16000, lower=20.0, upper=7600.0)


CASES = list(_cases())
