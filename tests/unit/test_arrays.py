"""Files of arrays: what NumPy writes is read as NumPy reads it, and anything else ends in a typed error in little memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from pathweave.errors import Error, InputError
from pathweave.files.arrays import read_arrays

DTYPES = ("f2", "f4", "f8", ">f4", ">i8", "i1", "u1", "i2", "i4", "i8", "u8", "?", "c8", "U3", "S2", "M8[s]")


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + data


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4), (2, 0, 3)])
def test_as_numpy_reads_it(dtype, shape, tmp_path):
    path = tmp_path / "a.npy"
    whole = np.arange(int(np.prod(shape)) if shape else 1).reshape(shape).astype("i8").astype(dtype)
    for array in (whole, np.asfortranarray(whole), whole[..., ::-1] if shape else whole):
        np.save(path, array)
        found, expected = read_arrays(path)[""], np.load(path)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes() and found.flags.f_contiguous == expected.flags.f_contiguous


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives(save, tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(6, dtype="f4").reshape(2, 3), "é": np.array(2.5), "folder/y": np.zeros((0, 4), "u1")}
    save(path, **arrays)
    found = read_arrays(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("data, said", [
    (b"", "begins with b''"), (b"text", "plain arrays"), (b"\x93NUMPY", "plain arrays"), (b"\x93NUMPY\x09\x00", "1.0 or 2.0"),
    (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", b"x" * 99), "Python objects"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4), }"), "at most"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }"), "truncated"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }"), "0 or more"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 70 + "), }"), "at most 64"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3), }"), "0 or more"),
    (npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", b"\0\1\2"), "0 and 1"),
    (npy("(" * 900), "cannot be read"), (npy("{" * 9000), "cannot be read"), (npy("__import__('os').abort()"),
     "cannot be read"),
    (npy("{'descr': '|V2147483647', 'fortran_order': False, 'shape': (2147483647,), }"), "at most"),
    (b"PK\3\4" + b"\0" * 40, "plain")])
def test_what_it_is_not_is_said_in_little_memory(data, said, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=said):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_that_lies_about_its_sizes(tmp_path):
    path = tmp_path / "a.npz"
    member = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (300000000,), }")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
    data = path.read_bytes()  # the size in the directory at the end says that it has 300 MB
    at = data.rindex(b"PK\1\2") + 24
    path.write_bytes(data[:at] + (400_000_000).to_bytes(4, "little") + data[at + 4:])
    with pytest.raises(InputError, match="truncated|cannot be read"):
        read_arrays(path)


def test_flipped_bits_end_in_arrays_or_in_a_typed_error(tmp_path):
    rng, outcomes = np.random.default_rng(0), set()
    for save in (lambda f: np.save(f, np.arange(30.0)), lambda f: np.savez(f, x=np.arange(9)),
                 lambda f: np.savez_compressed(f, x=np.arange(9))):
        buffer = io.BytesIO()
        save(buffer)
        for _ in range(300):
            data = bytearray(buffer.getvalue())
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            path = tmp_path / "a"
            path.write_bytes(data)
            try:
                outcomes.add(type(next(iter(read_arrays(path).values()), None)))
            except Error as e:
                outcomes.add(type(e))
    assert {np.ndarray, InputError} <= outcomes
