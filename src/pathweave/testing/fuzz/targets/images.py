"""Image files: hostile sizes in their headers, cuts, flips; all formats that Pillow writes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np

from .. import models, mutate, use
from ..target import Target

#: Format -> modes.
_FORMATS = {"PNG": ("RGB", "L", "P", "1", "I;16", "RGBA", "LA"), "JPEG": ("RGB", "L", "CMYK"), "BMP": ("RGB", "L", "P", "1"),
            "GIF": ("L", "P", "RGB"), "TIFF": ("RGB", "L", "I;16", "F", "CMYK"), "WEBP": ("RGB", "RGBA"), "PPM": ("RGB", "L"),
            "TGA": ("RGB", "L"), "ICO": ("RGB", "RGBA"), "PCX": ("RGB", "L"), "JPEG2000": ("RGB", "L")}
_SIZES = (0, 1, 2, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 13000)


class Images(Target):
    """A case: a file."""

    name = "images"
    weight = 3
    suffix = ".img"

    def prepare(self, folder: Path) -> None:
        from PIL import Image
        warnings.simplefilter("ignore")
        self.model = models.pw_model("classifier", "pipeline")
        self.bases: list[bytes] = []
        rng = np.random.default_rng(0)
        for kind, modes in _FORMATS.items():
            for mode in modes:
                for size in ((7, 5), (32, 24)):
                    pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
                    image = Image.fromarray(pixels)
                    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200) if mode == "I;16" else image.convert(mode)
                    buffer = io.BytesIO()
                    exif = Image.Exif()
                    exif[0x0112] = size[0] % 8 + 1
                    try:
                        image.save(buffer, kind, **({"exif": exif} if kind in ("JPEG", "WEBP", "PNG") else {}))
                    except (OSError, KeyError, ValueError):  # this Pillow does not write it
                        continue
                    self.bases.append(buffer.getvalue())

    def make(self, rng: np.random.Generator) -> bytes:
        data = bytearray(mutate.pick(rng, self.bases))
        kind = int(rng.integers(4))
        if kind == 0 and data[:4] == b"\x89PNG":  # the header's own check is made right, so that its sizes are believed
            width, height = (mutate.pick(rng, _SIZES) if rng.integers(2) else v for v in struct.unpack(">II", data[16:24]))
            data[16:24] = struct.pack(">II", width, height)
            if rng.integers(2):
                data[24:29] = bytes(int(v) for v in rng.integers(0, 17, 5))
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        elif kind == 0 and data[:2] == b"BM":
            data[18:26] = struct.pack("<ii", *((mutate.pick(rng, _SIZES) & 0x7FFFFFFF) * (1 if rng.integers(3) else -1)
                                               for _ in range(2)))
        elif kind == 1:  # within the header, where sizes are
            at, word = int(rng.integers(0, 48)), mutate.pick(rng, _SIZES)
            if rng.integers(2):
                data[at:at + 4] = struct.pack(mutate.pick(rng, ("<I", ">I")), word)
            else:
                data[at:at + 2] = struct.pack("<H", word & 65535)
        else:
            return mutate.flip(bytes(data), rng)
        return bytes(data)

    def run(self, data: bytes, folder: Path) -> None:
        path = folder / "case.img"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = self.model.predict(path)
        use.check_equal(results, self.model.predict(path), "when it is read once more")
