"""Commands say of a route that was tuned for other threads, shapes or another processor that it is carried over."""

from __future__ import annotations

import dataclasses

import pytest

import pathweave


@pytest.fixture
def tuned(pw, digits, tmp_path):
    """The shipped network, tuned for one thread and one image."""
    path = tmp_path / "tuned.pw"
    assert pw("tune", digits, "-o", path, "--budget", 0, "--threads", 1).code == 0
    return path


def bench(pw, path, *options) -> str:
    """What `bench` calls our route."""
    done = pw("bench", path, "--rounds", 1, *options, "--json")
    assert done.code == 0, done.err
    return next(e["version"] for e in done.json["engines"] if e["engine"] == "pathweave")


def test_bench_and_show_name_the_origin_of_a_route(pw, digits, tuned, tmp_path):
    assert bench(pw, digits, "--threads", 1) == "default route"
    assert bench(pw, tuned, "--threads", 1) == "tuned route"
    assert bench(pw, tuned, "--threads", 2) == "carried over from 1 thread"
    assert bench(pw, tuned, "--threads", 1, "--batch", 3).startswith("carried over from other shapes")
    assert "tuned route, 1 thread\n" in pw("show", tuned).out
    assert "carried over from 1 thread, 2 threads" in pw("show", tuned, "--threads", 2).out

    model = pathweave.load(tuned)
    for route in list(model.routes.values()):
        model.add_route(dataclasses.replace(route, host="elsewhere"))
    model.save(tmp_path / "moved.pw")
    assert bench(pw, tmp_path / "moved.pw", "--threads", 1) == "carried over from another processor"
    assert "carried over from another processor" in pw("show", tmp_path / "moved.pw").out


def test_explain_names_the_origin_of_a_route(pw, tuned):
    assert pw("tune", tuned, "--no-save", "--budget", 0, "--threads", 2).code == 0  # so that the store knows two threads
    done = pw("explain", tuned, 0, "--threads", 2)
    assert done.code == 0, done.err
    assert "carried over: it was tuned for 1 thread" in " ".join(done.out.split())
    done = pw("explain", tuned, "--all", "--threads", 2)
    assert "carried over from 1 thread" in done.out
    assert pathweave.load(tuned).routes
