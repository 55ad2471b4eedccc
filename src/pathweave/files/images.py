"""Image files and Pillow images as arrays, within a limit of pixels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from ..errors import Error, InputError, OutOfMemoryError
from ..locks import lock
from ..net.net import Net

#: Pixels that an image may have, unless the caller says otherwise.
MAX_PIXELS = 100_000_000
#: The environment's limit, whatever the caller says.
VARIABLE = "PATHWEAVE_MAX_PIXELS"
#: Images above this many pixels are made smaller before they become arrays, to no less than `MARGIN` times what is wanted.
REDUCE_ABOVE, MARGIN = 16_000_000, 4
_CONVERT = "convert it, or pass an array"
#: See `_guarded`.
_guard = lock()
_raised: list[Any] = []


def max_pixels(given: int | None = None) -> int:
    """The limit in force: the caller's or `MAX_PIXELS`, and PATHWEAVE_MAX_PIXELS at most. Raises InputError."""
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise InputError(f"max_pixels: expected a number of at least 1, got {given!r}")
    limit, text = MAX_PIXELS if given is None else given, os.environ.get(VARIABLE)
    if text is None:
        return limit
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(f"{VARIABLE}: expected a number of at least 1, got {text!r}")
    return min(limit, int(text))


def wanted_size(net: Net, name: str) -> tuple[int, int] | None:
    """Height and width that a preprocess net makes of one of its images; None where it looks at all pixels.

    Raises ModelError for a source with attributes that it cannot have.
    """
    from ..layers import kind_of
    readers = [layer for layer, _ in net.consumers().get(name, ())]
    if not readers or name in net.outputs or any(layer.kind != "source" for layer in readers):
        return None
    kind = kind_of("source")
    shapes: list[Any] = [kind.outline(kind.complete(layer.attrs), []) for layer in readers]
    return max(s[2] for s in shapes), max(s[3] for s in shapes)


def read_image(path: str | os.PathLike, wanted: tuple[int, int] | None = None, limit: int | None = None) -> Any:
    """An image file as a uint8 RGB array [H,W,3], turned upright by its EXIF orientation; of several images the first.

    `wanted`: height and width that it will be resampled to; an image above `REDUCE_ABOVE` pixels is then made smaller while
    it is read. `limit`: pixels, see `max_pixels`. Raises InputError when the file cannot be read, is no image or too large,
    or Pillow is missing; OutOfMemoryError.
    """
    try:
        from PIL import Image
    except ImportError:
        raise InputError(f"{path}: reading images needs Pillow, got an environment without it; "
                         f"install it with: pip install pillow") from None
    with _typed(str(path)), _guarded(limit), Image.open(path) as image:
        _check(image, str(path), limit)
        factor = _factor(image, wanted)
        if factor > 1 and image.format == "JPEG":
            image.draft("RGB", (image.width // factor, image.height // factor))  # decodes at 1/2, 1/4 or 1/8
        return _array(image, str(path), wanted)


def pixels(image: Any, where: str, wanted: tuple[int, int] | None = None, limit: int | None = None) -> Any:
    """A Pillow image as a uint8 RGB array [H,W,3], as `read_image` gives it for a file. Alpha is dropped. Raises InputError."""
    with _typed(where), _guarded(limit):
        _check(image, where, limit)
        return _array(image, where, wanted)


@contextlib.contextmanager
def _typed(where: str) -> Iterator[None]:
    """What Pillow raises as our errors."""
    from PIL import Image
    try:
        yield
    except FileNotFoundError as e:
        raise InputError(f"{where}: cannot be read (no such file); check the path") from e
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise InputError(f"{where}: too large for Pillow's guard against small files of huge images ({e}); make it smaller, or "
                         f"say how many pixels it may have (max_pixels=..., --max-pixels; {VARIABLE} lowers it)") from e
    except Error:
        raise
    except MemoryError as e:
        raise OutOfMemoryError(f"{where}: no memory for the image; make it smaller") from e
    except Exception as e:  # Pillow's decoders raise nearly everything on damaged files
        raise InputError(f"{where}: expected an image file such as PNG or JPEG, got one that cannot be decoded "
                         f"({type(e).__name__}: {e}); {_CONVERT}") from e


@contextlib.contextmanager
def _guarded(limit: int | None) -> Iterator[None]:
    """Pillow's own guard while the block runs: no lower than the limit that the caller gives, if any. Pillow has one guard for
    the whole process; where several threads raise it at once, the largest limit counts until the last is done."""
    from PIL import Image
    if limit is None:
        yield
        return
    most = max_pixels(limit)
    with _guard:
        if not _raised:
            _raised.append(Image.MAX_IMAGE_PIXELS)
        _raised.append(most)
        _set_guard()
    try:
        yield
    finally:
        with _guard:
            _raised.remove(most)
            _set_guard()
            if len(_raised) == 1:
                _raised.clear()


def _set_guard() -> None:
    """Pillow's guard as `_raised` says: the first entry is its own, None for none, the others are limits of callers."""
    from PIL import Image
    own, *limits = _raised
    Image.MAX_IMAGE_PIXELS = None if own is None else max([own, *limits])


def _check(image: Any, where: str, limit: int | None) -> None:
    """Refuse an image with too many pixels, before they are decoded."""
    width, height = image.size
    most = max_pixels(limit)
    if width * height > most:
        raise InputError(f"{where}: expected an image of at most {most} pixels, got {width} x {height} = {width * height}; "
                         f"make it smaller, or raise the limit (max_pixels=..., --max-pixels; {VARIABLE} lowers it)")


def _array(image: Any, where: str, wanted: tuple[int, int] | None) -> Any:
    import numpy as np
    orientation, factor = _orientation(image), _factor(image, wanted)
    image = _eight_bits(image, where)
    if factor > 1:
        image = image.reduce(factor)
    if orientation is not None:
        image = image.transpose(orientation)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _factor(image: Any, wanted: tuple[int, int] | None) -> int:
    """How many times smaller an image may be read; the sides may be swapped yet by its orientation."""
    width, height = image.size
    if wanted is None or width * height <= REDUCE_ABOVE:
        return 1
    return max(1, min(width, height) // (MARGIN * max(wanted)))


def _orientation(image: Any) -> Any:
    """Pillow's name of the transposition that turns an image upright, None where it is; damaged EXIF counts as none."""
    from PIL import Image
    names = Image.Transpose
    try:
        value = image.getexif().get(0x0112)
    except Exception:
        return None
    return {2: names.FLIP_LEFT_RIGHT, 3: names.ROTATE_180, 4: names.FLIP_TOP_BOTTOM, 5: names.TRANSPOSE,
            6: names.ROTATE_270, 7: names.TRANSVERSE, 8: names.ROTATE_90}.get(value if isinstance(value, int) else 0)


def _eight_bits(image: Any, where: str) -> Any:
    """The image in a mode of 8 bits per channel that can be made smaller and converted: L or RGB, and others as RGB.

    Pillow clips what has more bits than 8; 16 bits become their upper 8 here.
    """
    import numpy as np
    from PIL import Image
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.size and not 0 <= int(deep.min()) <= int(deep.max()) <= 65535:
            raise InputError(f"{where}: expected an image of 8 or 16 bits per channel, got numbers from {deep.min()} to "
                             f"{deep.max()}; {_CONVERT}")
        return Image.fromarray((deep >> 8).astype(np.uint8))
    if image.mode == "F":
        raise InputError(f"{where}: expected an image of 8 or 16 bits per channel, got floating-point numbers; {_CONVERT}")
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
