"""Packed constants that travel with a model: weights in the order in which kernels of one machine read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from ..errors import FileFormatError
from . import spec

#: Packings are padded to this many bytes in a file, so that each begins at such a multiple.
ALIGNMENT = 64
_AGAIN = "the file is truncated or damaged: copy or save it again"


@dataclass(frozen=True)
class Packing:
    """One constant in one packing. `signature`: the native core's name of the packing; `routines`: "id@version" of those
    that read it so; `data`: uint8 array, padded; `bytes`: without the padding; `digest`: of these."""

    net: str
    constant: str
    signature: str
    routines: tuple[str, ...]
    bytes: int
    digest: str
    data: Any

    def intact(self) -> bool:
        """True when the contents are those that were saved: reads all of them."""
        return digest_of(self.data[:self.bytes]) == self.digest


@dataclass
class Packed:
    """All packings of a model. `version`: of pathweave; `tiers`: instruction sets that were in use."""

    version: str
    tiers: tuple[str, ...]
    packings: list[Packing] = field(default_factory=list)


def digest_of(data: Any) -> str:
    """32 hexadecimal digits that stand for the contents of an array of bytes."""
    return hashlib.blake2b(memoryview(data), digest_size=16).hexdigest()


def encode(packed: Packed) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON data, and the padded arrays by the name of their tensor."""
    import numpy as np
    entries, arrays = [], {}
    for i, p in enumerate(packed.packings):
        padding = -p.bytes % ALIGNMENT
        data = p.data[:p.bytes]
        arrays[f"packed/{i}"] = np.concatenate([data, np.zeros(padding, np.uint8)]) if padding else data
        entries.append({"net": p.net, "constant": p.constant, "signature": p.signature, "routines": list(p.routines),
                        "bytes": p.bytes, "digest": p.digest})
    return {"version": packed.version, "tiers": list(packed.tiers), "packings": entries}, arrays


def decode(text: str, tensors: dict[str, Any]) -> Packed:
    """The inverse of `encode`; takes its tensors out of `tensors`. Raises FileFormatError for damage."""
    data = spec.from_plain(spec.parse_json(text, "packed weights"), "packed weights")
    try:
        packed = Packed(_text(data["version"]), tuple(map(_text, data["tiers"])))
        for i, e in enumerate(data["packings"]):
            array = tensors.pop(f"packed/{i}")
            if array.ndim != 1 or array.dtype != "uint8" or type(e["bytes"]) is not int:
                raise ValueError(f"packed/{i} is no row of bytes")
            if e["bytes"] < 0 or not 0 <= array.size - e["bytes"] < ALIGNMENT or array.size % ALIGNMENT:
                raise ValueError(f"packed/{i} has {array.size} bytes for {e['bytes']}")
            packed.packings.append(Packing(_text(e["net"]), _text(e["constant"]), _text(e["signature"]),
                                           tuple(map(_text, e["routines"])), e["bytes"], _text(e["digest"]), array))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise FileFormatError(f"packed weights: not what this version can read ({e}); {_AGAIN}") from e
    return packed


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, got {value!r:.40}")
    return value
