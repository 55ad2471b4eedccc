"""Types of what the public functions take: one name for each kind of argument that several of them have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from numpy.typing import ArrayLike

from ..net.net import Model
from .catalogue import Restrict

#: A file by its path.
Path: TypeAlias = str | os.PathLike[str]
#: A model that was loaded, the path of one, or the contents of a file.
AnyModel: TypeAlias = Model | Path | bytes | bytearray | memoryview
#: Input name -> shape and symbol -> size, or one shape for a net with one input; None: the model's own, batch 1.
Shapes: TypeAlias = Mapping[str, Sequence[int] | int] | Sequence[int] | None
#: Routine descriptors, or whether a candidate for the layer at a position is allowed; None: all are.
AnyRestrict: TypeAlias = str | Iterable[str] | Restrict | None
#: A net in front of the model or behind it: path of a JSON file, or what is in one.
Pipeline: TypeAlias = Path | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
#: One array, or arrays by input name: NumPy or any CPU tensor with DLPack.
Inputs: TypeAlias = ArrayLike | Mapping[str, ArrayLike] | None
#: Path of an image file, uint8 array [H,W,3] or [H,W], Pillow image, or those by input name.
Image: TypeAlias = Path | ArrayLike | Mapping[str, Path | ArrayLike]
