"""Model <-> one safetensors file (`.pw`). Constants are mapped, not read; nothing in the file is trusted.

The file is a valid safetensors file: 8 bytes of header length, a JSON header, the tensors without gaps. Constants are
tensors named `<net>/<constant>`, those of blocks `block/<number>`, initial values of states `state/<input>`; the rest
is one JSON text (see spec.py) under `__metadata__`, key `pathweave`. Packed weights, where there are any, are tensors
`packed/<number>`, described under `__metadata__`, key `packed`. Contents of tensors are used as they are: such a file
is as trustworthy as its source. Digests of all of them, and of the JSON text, are under `__metadata__`, key `digests`;
files of before lack them. To look at every byte takes time, so only `damage` and `pathweave verify` do. The header is
padded with spaces so that tensors start at a multiple of 64 bytes; tensors whose size is a multiple of 64 come first,
so each of them is aligned to 64 bytes in memory, and the others to their element.
Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Any, BinaryIO, Iterator

from ..errors import FileFormatError, InputError, ModelError, ModelFileError, OutOfMemoryError
from ..net.format import dtype_of, numpy_dtype
from ..net.net import Model
from . import blocks, packed, spec

#: What follows the 8 bytes of header length in every file that we write.
MAGIC = b'{"__metadata__":{"pathweave":"'
ALIGNMENT = 64
_SAFETENSORS = {"F64": "f64", "F32": "f32", "F16": "f16", "I64": "i64", "I32": "i32", "I16": "i16", "I8": "i8",
                "U64": "u64", "U32": "u32", "U16": "u16", "U8": "u8", "BOOL": "bool"}
_NAMES = {ours: theirs for theirs, ours in _SAFETENSORS.items()}
#: Names in the table of digests that are no tensors.
_TEXT, _PACKED = "pathweave", "packed"
_AGAIN = "the file is truncated or damaged: copy or save it again"


def recognises(head: bytes) -> bool:
    """True when a file that begins with these bytes (64 are enough) is, or was before damage, a `.pw` file."""
    return bytes(head[8:8 + len(MAGIC)]) == MAGIC


# ---- writing --------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` when the block ends well, and leaves no trace when it does not.

    Written beside the target, flushed to the disk, renamed; a reader sees the old or the new contents, never a part.
    A new file gets its permissions from the umask, an existing one keeps its own. Raises OSError.
    """
    try:
        target = os.path.realpath(path)
        folder, name = os.path.split(target)
        os.fsencode(name)
    except ValueError as e:  # a zero byte, or what is no text
        raise OSError(f"{os.fspath(path)!r} cannot be the name of a file: {e}") from e
    try:
        mode = os.stat(target).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{target} exists and is not a plain file")
    except FileNotFoundError:
        mode = None
    temporary = os.path.join(folder, f".{name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        with open(fd, "wb") as f:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _flush_folder(folder)


def _flush_folder(folder: str) -> None:
    """Make a rename last through a power cut, where the system lets a folder be flushed."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


#: Endings of other formats: a `.pw` model under such a name would mislead its readers.
_FOREIGN = frozenset((".onnx", ".pt", ".pth", ".pt2", ".tflite", ".keras", ".h5", ".hdf5", ".pb", ".prototxt", ".caffemodel",
                      ".safetensors", ".npz", ".npy", ".json"))


def check_name(path: str | os.PathLike) -> None:
    """Raise InputError for a name that ends like another format's: what is written is always a `.pw` model."""
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _FOREIGN:
        raise InputError(f"{name}: a model is saved as a .pw file, and {suffix} is the ending of another format; expected a "
                         f"name such as {os.path.splitext(os.path.basename(name))[0]}.pw")


def save(model: Model, path: str | os.PathLike) -> None:
    """Write a model as one `.pw` file, atomically.

    The same model gives the same bytes. `Net.specs` is not stored: it follows from the rest. Raises ModelError when
    the model is malformed, ModelFileError (also an OSError) when the file cannot be written.
    """
    header, arrays = _header(model, f"saving {path}")
    try:
        with atomic_writer(path) as f:
            f.write(header)
            for array in arrays:
                f.write(_bytes(array))
    except OSError as e:
        raise ModelFileError(f"{path}: cannot be written ({e.strerror or e}); "
                             f"check that its folder exists, is writable and has {_size(arrays)} free") from e


def _digests(metadata: dict[str, str], tensors: dict[str, Any]) -> dict[str, str]:
    """Digests of every tensor, and of the texts that describe them."""
    texts = {name: metadata[name].encode("utf-8", "surrogatepass") for name in (_TEXT, _PACKED) if name in metadata}
    return {**{name: packed.digest_of(text) for name, text in texts.items()},
            **{name: packed.digest_of(_bytes(array)) for name, array in tensors.items()}}


def _bytes(array: Any) -> Any:
    """The contents of an array as they lie in the file."""
    return memoryview(array.reshape(-1)).cast("B") if array.size else b""


def _size(arrays: list) -> str:
    return f"{sum(a.nbytes for a in arrays) / 1e6 + 1:.0f} MB"


def _header(model: Model, where: str) -> tuple[bytes, list]:
    """The padded header (length included), and the arrays in the order of the file. Raises ModelError."""
    import numpy as np
    tensors: dict[str, Any] = {}
    for net_name, net in model.nets.items():
        net.check()
        for name, constant in net.constants.items():
            try:
                array = np.asarray(constant, order="C")
                dtype = dtype_of(array.dtype.newbyteorder("="))
            except ModelError as e:
                raise ModelError(f"{where}: net {net_name}, constant {name!r}: {e}") from None
            tensors[f"{net_name}/{name}"] = array.astype(array.dtype.newbyteorder("<"), copy=False), dtype
    others = [("a constant inside a block", blocks.tensors_of(model)[0]),
              ("the initial value of a state", {f"{spec.STATE}{n}": s.initial for n, s in model.states.items()
                                                if s.initial is not None})]
    for what, name, constant in ((what, name, constant) for what, found in others for name, constant in found.items()):
        try:
            array = np.asarray(constant, order="C")
            dtype = dtype_of(array.dtype.newbyteorder("="))
        except ModelError as e:
            raise ModelError(f"{where}: {what}: {e}") from None
        tensors[name] = array.astype(array.dtype.newbyteorder("<"), copy=False), dtype
    data = spec.encode(model)
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    try:  # what is written can be read
        spec.decode(spec.parse_json(text, "model"), {name: array for name, (array, _) in tensors.items()})
    except FileFormatError as e:
        raise ModelError(f"{where}: the model is malformed, nothing was written: "
                         f"{str(e).removesuffix('; ' + spec.DAMAGED)}") from None
    metadata = {"pathweave": text}
    if model.packed is not None:
        described, arrays = packed.encode(model.packed)
        if not arrays.keys().isdisjoint(tensors):
            raise ModelError(f"{where}: a net is called 'packed', as packed weights are; rename it, or save without them")
        tensors |= {name: (array, "u8") for name, array in arrays.items()}
        metadata["packed"] = json.dumps(described, ensure_ascii=True, separators=(",", ":"))
    metadata["digests"] = json.dumps(_digests(metadata, {name: array for name, (array, _) in tensors.items()}),
                                     ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    order = sorted(tensors, key=lambda n: (tensors[n][0].nbytes % ALIGNMENT != 0, -tensors[n][0].itemsize, n))
    entries: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name in order:
        array, dtype = tensors[name]
        end = offset + array.nbytes
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(entries, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    if len(header) > spec.MAX_TEXT:
        raise ModelError(f"{where}: the description takes {len(header)} bytes, at most {spec.MAX_TEXT} can be read "
                         f"back; drop routes or meta data")
    return struct.pack("<Q", len(header)) + header, [tensors[name][0] for name in order]


# ---- reading --------------------------------------------------------------------------------------------------------

def read(path: str | os.PathLike, mapped: bool = True) -> Model:
    """Map a `.pw` file. Constants are read-only views of the file, which the system reads when they are touched.

    Saving to the same path later does not disturb them (it puts a new file in place); truncating or overwriting the file
    in place does, as for every mapped file. `mapped` False: the file is read into memory instead, for a file that
    somebody else may write. Raises FileFormatError for a file that is truncated, damaged, of another kind or of a newer
    format, ModelFileError (also an OSError) when it cannot be opened, OutOfMemoryError.
    """
    path = Path(path)
    try:
        held = _map(path, mapped)
    except (OSError, ValueError) as e:
        if isinstance(e, ModelError):
            raise
        advice = "check the path" if isinstance(e, (FileNotFoundError, NotADirectoryError)) else \
            "check that it is a file that you may read"
        raise ModelFileError(f"{path}: cannot be read ({getattr(e, 'strerror', None) or e}); {advice}") from e
    try:
        return _model(held)
    except FileFormatError as e:
        raise FileFormatError(f"{path}: {e}") from None


def _map(path: Path, mapped: bool) -> mmap.mmap:
    """The whole file, mapped read-only, or a copy of it in memory, which begins at a page as well."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError("not a plain file")
        if info.st_size < 8 + 2:
            raise FileFormatError(f"{path}: expected a .pw file, got {info.st_size} bytes; {_AGAIN}")
        return mmap.mmap(fd, info.st_size, access=mmap.ACCESS_READ) if mapped else _copy(fd, path, info.st_size)
    finally:
        os.close(fd)


def _copy(fd: int, path: Path, size: int) -> mmap.mmap:
    try:
        copy = mmap.mmap(-1, size)
    except (OSError, MemoryError):
        raise OutOfMemoryError(f"{path}: {size} bytes of memory could not be had; load it mapped") from None
    with open(fd, "rb", closefd=False, buffering=0) as f, memoryview(copy) as view:
        done = 0
        while done < size and (n := f.readinto(view[done:])):
            done += n
    if done < size:
        raise FileFormatError(f"{path}: expected {size} bytes, got {done}: it was written while it was read; load it again")
    return copy


def _model(mapped: mmap.mmap) -> Model:
    metadata, tensors = _parts(mapped)
    extra = packed.decode(metadata["packed"], tensors) if "packed" in metadata else None
    model = spec.decode(spec.parse_json(metadata["pathweave"], "model"), tensors)
    model.packed = extra
    return model


def _parts(mapped: mmap.mmap) -> tuple[dict[str, str], dict[str, Any]]:
    """The texts of the header, and every tensor as a view of the file. Raises FileFormatError."""
    length = struct.unpack_from("<Q", mapped)[0]
    limit = min(len(mapped) - 8, spec.MAX_TEXT)
    if not recognises(mapped[:64]):
        raise spec.bad("header", "a pathweave model (.pw)", bytes(mapped[:24]), "give a .pw file, or import the "
                       "model from its own format" if mapped[8:9] != b"{" else
                       "a safetensors file of weights alone holds no network: import the model from its source")
    if not len(MAGIC) <= length <= limit:
        raise spec.bad("header length", f"{len(MAGIC)} to {limit} bytes (the file has {len(mapped)})", length, _AGAIN)
    try:
        text = mapped[8:8 + length].decode("utf-8")
    except UnicodeDecodeError as e:
        raise FileFormatError(f"header: expected UTF-8, got {e}; {_AGAIN}") from None
    header = spec.parse_json(text, "header")
    if not isinstance(header, dict):
        raise spec.bad("header", "an object", header, _AGAIN)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()) \
            or "pathweave" not in metadata:
        raise spec.bad("header, __metadata__", "words, pathweave among them", metadata, _AGAIN)
    return metadata, _tensors(header, mapped, 8 + length)


def damage(path: str | os.PathLike) -> list[str] | None:
    """Names of the parts of a `.pw` file whose contents are not those that were saved; None for a file without digests.

    Tensors as `<net>/<constant>` and `packed/<number>`; `pathweave` and `packed` for the descriptions. Reads every byte.
    Raises what `read` raises.
    """
    path = Path(path)
    try:
        metadata, tensors = _parts(_map(path, True))
        digests = None if "digests" not in metadata else spec.parse_json(metadata["digests"], "digests")
    except FileFormatError as e:
        raise FileFormatError(f"{path}: {e}") from None
    except OSError as e:
        raise ModelFileError(f"{path}: cannot be read ({e.strerror or e}); check that it is a file that you may read") from e
    if digests is None:
        return None
    if not isinstance(digests, dict):
        return ["digests"]
    found = _digests(metadata, tensors)
    return sorted(name for name in {*found, *digests} if found.get(name) != digests.get(name))


def _tensors(header: dict[str, Any], mapped: mmap.mmap, start: int) -> dict[str, Any]:
    """Every tensor as a view of the file, after checking that they fill it without gap or overlap."""
    size = len(mapped) - start
    entries = sorted(((name, *_entry(name, e, size)) for name, e in header.items()), key=lambda e: (e[3], e[4]))
    end = 0
    for name, _, _, begin, stop in entries:
        if begin != end:
            raise spec.bad(f"tensor {spec.shown(name)}", f"data from byte {end}, where the tensor before it ends",
                           begin, _AGAIN)
        end = stop
    if end != size:
        raise spec.bad("tensors", f"{end} bytes of data after the header", size, _AGAIN)
    return {name: _view(mapped, name, dtype, shape, start + begin) for name, dtype, shape, begin, _ in entries}


def _entry(name: str, entry: Any, size: int) -> tuple[str, list[int], int, int]:
    """dtype, shape, begin and end of one tensor. Raises FileFormatError."""
    where = f"tensor {spec.shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise spec.bad(where, "dtype, shape and data_offsets", entry, _AGAIN)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SAFETENSORS:
        raise spec.bad(f"{where}, dtype", f"one of {', '.join(_SAFETENSORS)}", dtype, _AGAIN)
    if not isinstance(shape, list) or len(shape) > spec.MAX_RANK \
            or not all(type(d) is int and 0 <= d < spec.MAX_DIM for d in shape):
        raise spec.bad(f"{where}, shape", f"at most {spec.MAX_RANK} numbers from 0 to {spec.MAX_DIM - 1}", shape, _AGAIN)
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(o) is int for o in offsets) \
            or not 0 <= offsets[0] <= offsets[1] <= size:
        raise spec.bad(f"{where}, data_offsets", f"[begin, end] within 0 to {size}", offsets, _AGAIN)
    nbytes = _itemsize(dtype)
    for d in shape:
        nbytes *= d
    if nbytes != offsets[1] - offsets[0]:
        raise spec.bad(f"{where}, data_offsets", f"{nbytes} bytes for {dtype} {shape}", offsets[1] - offsets[0], _AGAIN)
    return dtype, shape, offsets[0], offsets[1]


def _itemsize(dtype: str) -> int:
    from ..net.format import itemsize
    return itemsize(_SAFETENSORS[dtype])


def _view(mapped: mmap.mmap, name: str, dtype: str, shape: list[int], offset: int) -> Any:
    """A read-only array over the mapping."""
    import numpy as np
    kind = np.dtype(numpy_dtype(_SAFETENSORS[dtype])).newbyteorder("<")
    if 0 in shape:
        try:
            array = np.empty(shape, kind)
        except ValueError:
            raise spec.bad(f"tensor {spec.shown(name)}, shape", "a size that memory can hold", shape, _AGAIN) from None
        array.flags.writeable = False
        return array
    if offset % kind.itemsize:
        raise spec.bad(f"tensor {spec.shown(name)}", f"data at a multiple of {kind.itemsize} bytes", offset, _AGAIN)
    array = np.ndarray(shape, kind, mapped, offset)
    if dtype == "BOOL" and array.view(np.uint8).max() > 1:
        raise spec.bad(f"tensor {spec.shown(name)}", "bytes 0 and 1", int(array.view(np.uint8).max()), _AGAIN)
    array.flags.writeable = False  # it is so in a mapping, and not in a copy of the file
    return array
