"""What each axis of a value is for, as layer kinds say it."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.layers import kind_of, kinds
from pathweave.meaning.roles import roles_of
from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.net.roles import channel_axes, image_roles, space_axes, usual_roles
from pathweave.runtime.ranges import Ranges
from pathweave.testing import cases

IMAGE = ("batch", "channel", "space", "space")


@pytest.mark.parametrize("rank, channels", [(0, ()), (1, ()), (2, (1,)), (3, (1, 2)), (4, (1,)), (5, (1, 4)), (6, (1, 5))])
def test_of_a_value_of_which_nothing_is_known(rank, channels):
    roles = usual_roles(rank)
    assert len(roles) == rank and channel_axes(roles) == channels
    assert space_axes(roles) == ((2, 3) if rank == 4 else ())


def test_channels_where_a_role_says_so():
    assert channel_axes(("batch", "channel", "space")) == (1,)
    assert channel_axes(("batch", "sequence", "channel")) == (2,)
    assert channel_axes(("batch", "space", "space", "channel")) == (3,)


def test_every_kind_says_as_many_roles_as_its_values_have_axes():
    """On every conformance case: what a kind says fits its specs, and an image's height and width are never its channels."""
    said = set()
    for case in cases():
        problem = case.problem(1)
        kind = kind_of(problem.kind)
        before, after = kind.roles(kind.complete(dict(problem.attrs)), list(problem.inputs))
        for roles, spec in (*zip(before, problem.inputs), *zip(after, problem.outputs)):
            if roles is not None:
                assert spec is not None and len(roles) == spec.rank, (case.name, roles, spec)
                said.add(problem.kind)
                assert roles[:2] == ("batch", "channel")
    stating = {name for name, kind in kinds().items() if kind.space is not None}
    assert said == stating and {"conv2", "max_pool2", "global_average_pool", "resize2", "batch_norm"} <= said


def net(layers: list[Layer], outputs: list[str], constants: dict | None = None) -> tuple[Net, dict[str, TensorSpec]]:
    found = Net({"x": TensorSpec("f32", (1, 4, 6))}, outputs, layers, constants or {})
    from pathweave.layers import infer
    infer(found)
    return found, found.specs


def test_roles_go_from_layer_to_layer():
    ones = np.ones(4, np.float32)
    layers = [Layer("n", "batch_norm", ("x", "one", "one", "one", "one"), ("a",)), Layer("r", "relu", ("a",), ("b",)),
              Layer("t", "transpose", ("b",), ("c",), {"perm": (0, 2, 1)}), Layer("s", "add", ("b", "x"), ("d",))]
    roles = roles_of(*net(layers, ["c", "d"], {"one": ones}))
    image = image_roles(1)
    assert roles == {"x": image, "one": ("",), "a": image, "b": image, "c": usual_roles(3), "d": image}


def test_an_input_has_the_roles_of_the_layer_that_reads_it():
    roles = roles_of(*net([Layer("r", "relu", ("x",), ("a",))], ["a"]))
    assert roles == {"x": usual_roles(3), "a": usual_roles(3)}


def test_ranges_look_at_the_channels_alone():
    array = np.ones((2, 3, 4), np.float32) * np.array([1, 2, 3], np.float32)[None, :, None]
    known, unknown = Ranges(), Ranges()
    known.add("v", array, image_roles(1))
    unknown.add("v", array)
    assert [axis for axis, _ in known.channels("v")] == [1] and [axis for axis, _ in unknown.channels("v")] == [1, 2]
    assert np.allclose(known.channels("v")[0][1], [1, 2, 3])
