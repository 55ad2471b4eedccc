"""Packed weights in a `.pw` file: mapped, used, left alone where they do not fit, and checked."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from runtime_nets import convolutions

import pathweave as pw
from pathweave.files import model as pw_file
from pathweave.meaning.evaluate import evaluate


@pytest.fixture
def saved(tmp_path):
    """A file with packed weights."""
    path = tmp_path / "model.pw"
    pw.load(convolutions(batch=1), threads=2).save(path, packed=True)
    return path


def packings(model) -> list[tuple]:
    return [p for _, kernel in model.plan().kernels for p in kernel.packings]


def rewritten(path, change):
    """The file again, its packed weights changed by change(packed) -> packed."""
    model = pw_file.read(path)
    model.packed = change(model.packed)
    target = path.with_name("changed.pw")
    pw_file.save(model, target)
    return target


def check(model, x) -> None:
    wanted = evaluate(model.main, {"x": x}, "f64")["y"]
    np.testing.assert_allclose(model(x), wanted, rtol=1e-5, atol=1e-6)


def test_round_trip_maps_and_does_not_copy(saved, x):
    model = pw.load(saved, threads=2)
    check(model, x)
    stored = {p.signature: p for p in pw_file.read(saved).packed.packings}
    assert stored and all(p.intact() for p in stored.values())
    used = packings(model)
    assert used and all(mapped for *_, mapped in used), "every packing comes from the file"
    mine = {(p.constant, p.signature): p for p in model.packed.packings}
    addresses = {p.data.__array_interface__["data"][0] for p in mine.values()}
    assert {data.__array_interface__["data"][0] for _, _, data, _ in used} <= addresses
    assert all(a % 64 == 0 for a in addresses)
    n = len(mine)
    assert model.notes == [f"{n} of {n} packed weights of the file are in use"]


def test_without_them_nothing_is_kept(tmp_path, saved, x):
    model = pw.load(saved, threads=2)
    model.save(tmp_path / "plain.pw")
    plain = pw.load(tmp_path / "plain.pw", threads=2)
    assert plain.packed is None and plain.notes == [] and not any(mapped for *_, mapped in packings(plain))
    assert os.path.getsize(tmp_path / "plain.pw") < os.path.getsize(saved)
    assert np.array_equal(plain(x), model(x))


def test_the_file_may_be_replaced_by_itself(saved, x):
    model = pw.load(saved, threads=2)
    before = model(x)
    model.save(saved, packed=True)
    assert np.array_equal(model(x), before) and np.array_equal(pw.load(saved, threads=2)(x), before)


@pytest.mark.parametrize("shrink", [64, -64])
def test_another_size_is_packed_anew(saved, x, shrink):
    def change(packed):
        data = [np.resize(p.data, p.data.size - shrink) for p in packed.packings]
        return dataclasses.replace(packed, packings=[dataclasses.replace(p, data=d, bytes=d.size)
                                                     for p, d in zip(packed.packings, data)])
    model = pw.load(rewritten(saved, change), threads=2)
    check(model, x)
    assert not any(mapped for *_, mapped in packings(model))
    assert any("another number of bytes" in note for note in model.notes) and model.notes[-1].startswith("0 of ")


@pytest.mark.parametrize("change, said", [
    (lambda p: dataclasses.replace(p, version="0.0.1"), "for pathweave 0.0.1"),
    (lambda p: dataclasses.replace(p, tiers=("generic", "neon")), "generic neon"),
    (lambda p: dataclasses.replace(p, packings=[dataclasses.replace(q, routines=("conv2/direct:f32:nhwc:cpu@999",))
                                                for q in p.packings]), "@999"),
    (lambda p: dataclasses.replace(p, packings=[dataclasses.replace(q, constant="no such") for q in p.packings]),
     "no such constant"),
])
def test_another_version_or_machine_is_packed_anew(saved, x, change, said):
    model = pw.load(rewritten(saved, change), threads=2)
    check(model, x)
    assert not any(mapped for *_, mapped in packings(model)) and any(said in note for note in model.notes)


def test_a_lower_cap_packs_anew_and_says_so(saved):
    code = ("import sys, warnings, numpy as np; warnings.simplefilter('ignore'); import pathweave as pw\n"
            "model = pw.load(sys.argv[1], threads=2)\n"
            "from pathweave.meaning.evaluate import evaluate\n"
            "x = np.random.default_rng(7).standard_normal((1, 3, 16, 16)).astype(np.float32)\n"
            "wanted = evaluate(model.main, {'x': x}, 'f64')['y']\n"
            "assert np.allclose(model(x), wanted, rtol=1e-5, atol=1e-6)\n"
            "assert not any(m for _, k in model.plan().kernels for *_, m in k.packings)\n"
            "print(*model.notes)")
    if pw.devices()[0]["capabilities"].split()[-1:] == ["generic"]:
        pytest.skip("this machine has no instruction set beyond generic")
    done = subprocess.run([sys.executable, "-c", code, str(saved)], env={**os.environ, "PATHWEAVE_ISA": "generic"},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "on generic: packed anew here" in done.stdout


def test_verify_finds_changed_contents(saved, x):
    def change(packed):
        first, *rest = packed.packings
        data = first.data.copy()
        data[5] ^= 1
        return dataclasses.replace(packed, packings=[dataclasses.replace(first, data=data), *rest])
    path = rewritten(saved, change)
    intact = [p.intact() for p in pw_file.read(path).packed.packings]
    assert intact == [False] + [True] * (len(intact) - 1)
    def verify(file):
        return subprocess.run([sys.executable, "-m", "pathweave.cli", "verify", str(file), "-n", "1"], capture_output=True,
                              text=True, timeout=120)
    assert verify(saved).returncode == 0
    done = verify(path)
    assert done.returncode == 1 and "not those that were saved" in done.stdout


def test_offers_end_with_the_model(saved):
    from pathweave import _native
    from pathweave.runtime.bound import constant_id
    model = pw.load(saved, threads=2)
    numbers = {constant_id(model.main.constants[p.constant]) for p in model.packed.packings}
    assert all(_native.offered_packings(n) for n in numbers)
    del model
    import gc
    gc.collect()
    assert not any(_native.offered_packings(n) for n in numbers)


@pytest.mark.parametrize("change, said", [
    (lambda q: [*q, *q], "the file has it twice"),
    (lambda q: [dataclasses.replace(p, bytes=0, data=p.data[:0]) for p in q], "it is empty"),
    (lambda q: [dataclasses.replace(p, signature="no routine makes this") for p in q], "0 of "),
])
def test_packings_that_fit_nothing_are_left_alone(saved, x, change, said):
    """Twice, of no bytes, under a signature that no routine makes."""
    model = pw.load(rewritten(saved, lambda packed: dataclasses.replace(packed, packings=change(packed.packings))), threads=2)
    check(model, x)
    assert any(said in note for note in model.notes), model.notes


@pytest.mark.parametrize("size", [-1, -64, True, 2**70])
def test_sizes_that_are_none_are_damage(saved, size):
    with pytest.raises(pw.errors.FileFormatError, match="packed weights"):
        pw.load(rewritten(saved, lambda p: dataclasses.replace(p, packings=[dataclasses.replace(p.packings[0], bytes=size,
                                                                                                data=p.packings[0].data[:0])])))


SPARSE = """
import sys, numpy as np
from pathweave import _native
from pathweave.runtime import catalogue
from pathweave.testing import cases
number = 1 << 62  # of no array
for case in [c for k in ("dense", "conv2") for c in cases(k) if c.problem().zeros]:
    problem, arrays = case.problem(), case.arrays()
    wanted = case.reference(arrays)[0]
    for c in catalogue.candidates(problem)[0]:
        if "sparse" not in c.routine or c.steps or problem.epilogue or "nhwc" in c.routine:
            continue
        number += 1
        for signature in ("spmm/dense", "spmm/dense/1", "masks", "blocks", "blocks/index/", "gemv/f32", *sys.argv[1:]):
            for size in (0, 1 << 16):
                memory = np.full((1 << 16) + 64, 0x7f, np.uint8)
                at = -memory.ctypes.data % 64
                _native.offer_packing(number, signature, memory[at:at + (1 << 16)], size)
                kernel = _native.prepare(c.base.text, c.routine, c.own_variant, [
                    (a if k else None, number if k else 0) for a, k in zip(arrays, problem.constant)])
                y = np.full(problem.outputs[0].shape, np.nan, np.float32)
                scratch = np.zeros(kernel.workspace_bytes + 64, np.uint8)
                at = -scratch.ctypes.data % 64
                kernel.run([a for a, k in zip(arrays, problem.constant) if not k], [y], scratch[at:], 1)
                if np.allclose(y, wanted, rtol=1e-4, atol=1e-5):
                    states = dict(_native.offered_packings(number))
                    print(c.routine, signature, states[signature])
                else:
                    print(c.routine, signature, "WRONG")
                del kernel
                _native.withdraw_packings(number)
"""


def test_what_no_file_may_hold_is_refused():
    """Packed sparse weights say where else to read: one from a file would send the kernel anywhere."""
    done = subprocess.run([sys.executable, "-c", SPARSE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    assert {state for *_, state in lines} == {"waiting", "refused"}
    assert {signature for _, signature, state in lines if state == "refused"} >= {"spmm/dense", "masks", "blocks"}


def of_open_sizes():
    """The network with symbols for its image's sizes."""
    import onnx
    proto = onnx.load_from_string(convolutions(batch=1))
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = f"size{dim.dim_value}"
    del proto.graph.value_info[:]
    return pw.load(proto.SerializeToString(), threads=2)


def test_a_model_whose_sizes_are_open_is_saved_with_what_was_used(tmp_path):
    model = of_open_sizes()
    with pytest.raises(pw.errors.OpenSizesError, match=r"make a plan before, model.plan\(shapes=\{'size16': 16\}\)"):
        model.save(tmp_path / "none.pw", packed=True)
    spec = model.inputs["x"]
    x = np.ones([d if isinstance(d, int) else 12 for d in spec.shape], np.float32)
    model(x)
    model.save(tmp_path / "used.pw", packed=True)
    again = pw.load(tmp_path / "used.pw", threads=2)
    assert again.packed.packings
    np.testing.assert_array_equal(again(x), model(x))


def test_a_model_whose_sizes_are_open_is_saved_with_those_of_its_routes(tmp_path):
    """The shapes for which a route was made are kept with it, in a file too; what is no shape is none."""
    model, x = of_open_sizes(), np.ones((1, 3, 12, 12), np.float32)
    model.add_route(pw.default_route(model, shapes={"x": x.shape}))
    model.save(tmp_path / "first.pw", packed=True)
    model.save(tmp_path / "plain.pw")
    again = pw.load(tmp_path / "plain.pw", threads=2)
    again.save(tmp_path / "second.pw", packed=True)
    for name in ("first.pw", "second.pw"):
        loaded = pw.load(tmp_path / name, threads=2)
        np.testing.assert_array_equal(loaded(x), model(x))
        count = len(loaded.packed.packings)
        assert count and f"{count} of {count} packed weights of the file are in use" in loaded.notes


@pytest.mark.parametrize("shapes", [{"x": [1, 3, 0.5, 4]}, {"x": [1, 5, 12, 12]}, {"z": [1]}, {"x": 3}, [1, 3, 12, 12], "x", {},
                                    {"x": [1, 3, True, 4]}, {"x": [1, 3, -1, 4]}])
def test_shapes_of_routes_that_do_not_fit_are_none(tmp_path, shapes):
    model = of_open_sizes()
    route = pw.default_route(model, shapes={"x": (1, 3, 12, 12)})
    model.add_route(dataclasses.replace(route, notes={"shapes": shapes}))
    with pytest.raises(pw.errors.OpenSizesError, match="save: packed weights"):
        model.save(tmp_path / "none.pw", packed=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field, value", [
    ("signature", "\ud800"), ("constant", "\ud800"), ("bytes", 2**70), ("net", {"$float": "nan"}), ("routines", ["\ud800"])])
def test_packings_with_odd_texts_are_damage(saved, field, value):
    """What the core cannot take, such as text that is no Unicode, never gets there."""
    import json
    import struct
    data = saved.read_bytes()
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    described = json.loads(header["__metadata__"]["packed"])
    described["packings"][0][field] = value
    header["__metadata__"]["packed"] = json.dumps(described)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    saved.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])
    with pytest.raises(pw.errors.FileFormatError, match="packed"):
        pw.load(saved)
