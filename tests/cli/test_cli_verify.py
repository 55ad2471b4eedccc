"""pathweave verify: where outputs differ, channel by channel, and what float32 and made-up inputs allow."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pathweave.net.compare import Channels, largest_difference
from pathweave.net.scales import Scale


def write(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, "net", inputs, outputs,
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def info(name, dtype=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, dtype, shape)


# ---- channels -------------------------------------------------------------------------------------------------------

def worst(got, wanted, by="rms"):
    channels = Channels()
    channels.add(np.asarray(got), np.asarray(wanted))
    return channels.worst(by)


@pytest.mark.parametrize("shape, axis", [((1, 6, 50), 1), ((1, 50, 6), 2), ((2, 6, 5, 7), 1), ((300, 6), 1)])
def test_a_lost_channel_is_found_however_small(shape, axis):
    rng = np.random.default_rng(0)
    wanted = np.moveaxis(rng.standard_normal(shape), axis, 0).copy()
    wanted *= np.array([600, 600, 600, 600, 1, 1]).reshape(6, *[1] * (wanted.ndim - 1))
    got = wanted.copy()
    got[4] = 0
    found = worst(np.moveaxis(got, 0, axis), np.moveaxis(wanted, 0, axis))
    assert (found.axis, found.number) == (axis, 4) and found.agreement.rms == pytest.approx(1)


def test_a_number_near_zero_by_accident_is_no_channel_of_its_own():
    wanted = np.random.default_rng(0).standard_normal((1, 1000)) * 5
    got = wanted + np.random.default_rng(1).standard_normal((1, 1000)) * 0.05
    assert worst(got, wanted).agreement.rms < 0.05


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_channel_of_one_or_two_numbers_is_judged_by_the_whole_output(samples):
    """Whatever is near zero there; three such numbers are small by nature."""
    channels = Channels()
    for seed in range(samples):
        wanted = np.random.default_rng(seed).standard_normal((1, 1, 128))
        wanted[0, 0, 40] = 1e-7
        got = wanted.copy()
        got[0, 0, 40] += 1e-7
        channels.add(got, wanted)
    found = channels.worst("largest")
    assert found.number == 40
    if samples < 3:
        assert found.agreement.largest < 1e-7 and found.over.startswith("the output's largest number, ")
    else:
        assert found.agreement.largest > 1e-5 and found.over.startswith("1e-04 of the output's largest number, ")


def test_what_a_channel_is_compared_with_is_told():
    wanted = np.ones((2, 3, 50)) * np.array([500, 500, 1]).reshape(3, 1)
    got = wanted.copy()
    got[:, 2] += 0.25
    assert worst(got, wanted).over == "its RMS, 1" and worst(got, wanted, "largest").over == "its largest number, 1"
    assert worst(got, wanted).agreement.rms == pytest.approx(0.25)


def test_probabilities_are_one_thing():
    wanted = np.array([[0.999, 1e-3 - 1e-9, 1e-9]])
    assert worst(wanted * [1, 1, 3], wanted) is None


def test_the_place_of_the_largest_difference():
    wanted = np.zeros((2, 3, 4))
    got = wanted.copy()
    got[1, 2, 0], got[0, 1, 1] = -5, 4
    found = largest_difference(got, wanted)
    assert (found.index, found.got, found.expected) == ((1, 2, 0), -5, 0)
    got[0, 0, 3] = np.nan
    assert largest_difference(got, wanted).index == (0, 0, 3)
    assert largest_difference(wanted, wanted) is None and largest_difference(wanted, wanted[0]) is None


# ---- the command ----------------------------------------------------------------------------------------------------

def test_scores_that_are_lost_beside_boxes(pw, tmp_path):
    """Finding 14, as files of before have it: one scale for both. RMS over the whole output stays far below the limit."""
    from pathweave.runtime.defaults import default_route
    from pathweave.runtime.descriptor import Restriction
    from pathweave.runtime.model import load
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["s", "size"], ["boxes"]),
             helper.make_node("Sigmoid", ["z"], ["scores"]), helper.make_node("Concat", ["boxes", "scores"], ["y"], axis=1)]
    file = write(tmp_path / "m.onnx", nodes, [info("x", shape=[1, 4, 64]), info("z", shape=[1, 4, 64])], [info("y")],
                 {"size": np.float32([640])})
    model = load(file, threads=1)
    data = {n: rng.standard_normal((8, 4, 64)).astype(np.float32) for n in "xz"}
    samples = [{n: a[i:i + 1] for n, a in data.items()} for i in range(8)]
    with pytest.warns(UserWarning, match="stays in float"):
        model.calibrate(samples)
    right, wrong = tmp_path / "right.pw", tmp_path / "wrong.pw"
    np.savez(tmp_path / "data.npz", **data)
    for path in (right, wrong):
        model.add_route(default_route(model.bind(), 1, "quantised", Restriction("qint8")))
        model.save(path)
        scales = model.quantisation["main"]
        scales |= dict.fromkeys(("boxes", "scores", "y"), Scale.of_range(0, 640))
        model.runnable().set_scales(scales)
    good = pw("verify", right, "--data", tmp_path / "data.npz", "--json")
    assert good.code == 0 and good.json["accuracy"] == "quantised"
    bad = pw("verify", wrong, "--data", tmp_path / "data.npz", "--json")
    assert bad.code == 1 and bad.json["rms"] < 0.01
    (output,) = bad.json["outputs"]
    assert output["channel"]["axis"] == 1 and output["channel"]["number"] >= 4 and output["channel"]["rms"] > 0.9
    said = pw("verify", wrong, "--data", tmp_path / "data.npz").out
    assert "DIFFERS" in said and " of axis 1 differs by " in said and "got" in said


def test_the_place_is_told(pw, digits):
    result = pw("verify", digits, "--samples", 1, "--limit", "1e-12")
    assert result.code == 1 and "output 'logits': differs most at [0, " in result.out and "expected" in result.out
    assert "give real ones with --data" in result.out
    (output,) = pw("verify", digits, "--samples", 1, "--json").json["outputs"]
    assert len(output["at"]["index"]) == 2 and output["at"]["got"] == pytest.approx(output["at"]["expected"], rel=1e-3)


def cancelling(path):
    """(x + 4096) - 4096, enlarged: float32 keeps a few bits of it."""
    nodes = [helper.make_node("Mul", ["x", "small"], ["a"]), helper.make_node("Add", ["a", "large"], ["b"]),
             helper.make_node("Relu", ["b"], ["c"]), helper.make_node("Sub", ["c", "large"], ["y"])]
    return write(path, nodes, [info("x", shape=[1, 8])], [info("y")],
                 {"small": np.float32([0.1]), "large": np.float32([4096])})


def test_what_float32_cannot_do_is_no_difference(pw, tmp_path):
    file = cancelling(tmp_path / "m.onnx")
    result = pw("verify", file, "--json")
    assert result.code == 0 and result.json["largest"] > 1e-4
    assert result.json["outputs"][0]["float32"]["largest"] > 1e-4
    said = pw("verify", file).out
    loses = result.json["outputs"][0]["float32"]["largest"]
    assert f"float32 itself loses {loses:.1e} here, so up to {10 * loses:.1e} is accepted" in said and "--data" in said
    assert result.json["outputs"][0]["limit"] > result.json["largest"] and result.json["limit"] == 1e-4
    shown = float(said.splitlines()[-1].partition("limit ")[2].split()[0])
    assert "agrees: " in said and shown == pytest.approx(result.json["outputs"][0]["limit"], rel=0.05)
    assert pw("verify", file, "--limit", "1e-4").code == 1  # a limit that is given is kept


def test_a_wrong_result_of_such_a_net_is_still_one(tmp_path):
    """What float32 loses excuses ten times as much, not more."""
    from pathweave.meaning.evaluate import evaluate
    from pathweave.report.verification import verify
    from pathweave.runtime.model import load
    model = load(cancelling(tmp_path / "m.onnx"), threads=1)
    x = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)

    def meaning(inputs, precision):
        return evaluate(model.main, inputs, precision)
    assert verify(model.plan(), [{"x": x}], lambda i: meaning(i, "f64"), meaning=meaning).ok
    wrong = verify(model.plan(), [{"x": x}], lambda i: {"y": meaning(i, "f64")["y"] * 1.3}, meaning=meaning)
    assert not wrong.ok and not wrong.conditioned


def test_the_test_that_failed_is_the_one_that_is_told():
    """A channel, here, while the whole output is far below its limit."""
    from pathweave.report.verification import Verification, _Judge, sentences
    wanted = np.random.default_rng(0).standard_normal((1, 4, 50)).astype("f4")
    wanted[:, 2] *= 1e-3
    got = wanted.copy()
    got[0, 2, 7] += 2e-3 * np.abs(wanted[0, 2]).max()
    judge = _Judge("y", 1e-4, below=False)
    judge.take(0, got, wanted)
    output = judge.output()
    assert not output.ok and output.failed.test == "channel" and output.failed.limit == pytest.approx(5e-4)
    assert output.failed.found == pytest.approx(2e-3, rel=1e-3) and output.agreement.largest < 1e-4
    largest = np.abs(wanted[0, 2]).max()
    said = sentences(Verification([output], "f32", 1e-4, below=False), advise_data=False)[-1]
    assert said.startswith(f"DIFFERS: output 'y': channel 2 of axis 1 differs by 2.00e-03 relative to its largest number, "
                           f"{largest:.2g}, limit 5e-04 (")
    judge = _Judge("y", 1e-4, below=False)
    judge.take(0, wanted * 1.001, wanted)
    said = sentences(Verification([judge.output()], "f32", 1e-4, below=False), advise_data=False)[-1]
    assert said.startswith("DIFFERS: output 'y': largest difference 1.00e-03 of the largest output, limit 1e-04 (")


# ---- made-up inputs -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("build, dtype, expected", [
    ("gather", TensorProto.INT64, (0, 29)), ("moved", TensorProto.INT64, (0, 29)), ("one_hot", TensorProto.INT32, (0, 256)),
    ("cast", TensorProto.INT32, None), ("cast", TensorProto.UINT8, (0, 255)), ("cast", TensorProto.BOOL, (0, 1))])
def test_integers_are_those_that_the_net_can_mean(tmp_path, build, dtype, expected):
    """Finding 41: the rows of a table, the numbers that they are compared with, bytes."""
    from pathweave.runtime.inputs import integer_range, random_inputs
    from pathweave.runtime.model import load
    table = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    nodes = {
        "gather": [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "moved": [helper.make_node("Transpose", ["ids"], ["t"], perm=[1, 0]),
                  helper.make_node("Gather", ["table", "t"], ["y"])],
        "one_hot": [helper.make_node("Unsqueeze", ["ids", "last"], ["u"]), helper.make_node("Equal", ["u", "depth"], ["e"]),
                    helper.make_node("Cast", ["e"], ["y"], to=TensorProto.FLOAT)],
        "cast": [helper.make_node("Cast", ["ids"], ["y"], to=TensorProto.FLOAT)]}[build]
    constants = {"table": table, "last": np.int64([-1]), "depth": np.arange(257, dtype=np.int32).reshape(1, 1, 257)}
    used = {v for n in nodes for v in n.input}
    file = write(tmp_path / "m.onnx", nodes, [info("ids", dtype, [2, 500])], [info("y")],
                 {n: a for n, a in constants.items() if n in used})
    bound = load(file, threads=1).bind()
    assert integer_range(bound, "ids") == expected
    ids = random_inputs(bound)["ids"]
    least, largest = expected or (0, 1)
    assert ids.min() == least and largest - ids.max() <= (largest - least) / 20 and ids.max() <= largest


def test_a_count_of_topk_is_one_that_the_axis_has(tmp_path):
    """0 leaves nothing for the layers behind, and more than there are is an error."""
    from pathweave.runtime.inputs import integer_range, random_inputs
    from pathweave.runtime.model import load
    nodes = [helper.make_node("TopK", ["x", "k"], ["v", "i"]), helper.make_node("ArgMax", ["v"], ["y"], axis=1)]
    file = write(tmp_path / "m.onnx", nodes, [info("x", TensorProto.FLOAT, [2, 9]), info("k", TensorProto.INT64, [1])],
                 [info("y", TensorProto.INT64)], {})
    model = load(file, threads=1)
    assert integer_range(model.bind(), "k") == (1, 9)
    for seed in range(20):
        inputs = random_inputs(model.bind(), seed)
        np.testing.assert_array_equal(model(inputs), np.zeros((2, 1)))  # the largest is the first


# ---- files ----------------------------------------------------------------------------------------------------------

def test_flipped_weights_are_found(pw, digits, tmp_path):
    """One bit of the smallest weight: the outputs hardly change."""
    file = tmp_path / "m.pw"
    pw("import", digits, "-o", file)
    assert pw("verify", file, "--samples", 1).code == 0
    data = bytearray(file.read_bytes())
    data[-4] ^= 1
    file.write_bytes(data)
    result = pw("verify", file, "--samples", 1)
    assert result.code == 1 and "its contents are not those that were saved" in result.out
    (name,) = pw("verify", file, "--samples", 1, "--json").json["damaged"]
    assert name.startswith("main/")


def test_packed_weights_that_are_not_written_are_told(pw, digits, heldout, tmp_path):
    """Integers keep what they pack to themselves."""
    done = pw("tune", digits, "--calibrate", f"x={heldout}:images", "--accuracy", "quantised", "--routine", "qint8",
              "--budget", 0, "--threads", 1, "-o", tmp_path / "m.pw", "--packed")
    assert done.code == 0 and "packed weights: 0 written" in done.out and "left out" in done.out and ":u8:" in done.out
    plain = pw("tune", digits, "--budget", 0, "--threads", 1, "-o", tmp_path / "f.pw", "--packed", "--json").json
    (note,) = [n for n in plain["notes"] if n.startswith("packed weights")]
    assert int(note.split()[2]) > 0


def test_packed_weights_of_open_sizes_are_those_of_the_tuned_shape(pw, tmp_path):
    import onnx
    w = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, "H", "W"]) for n, c in (("x", 3), ("y", 8)))
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], "g", [x], [y], [w])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    done = pw("tune", tmp_path / "m.onnx", "-s", "H=9", "-s", "W=9", "--budget", 0, "--packed", "-o", tmp_path / "m.pw",
              "--routine", "conv2/im2col", "--json")
    assert done.code == 0, done.err
    (note,) = [n for n in done.json["notes"] if n.startswith("packed weights")]
    assert int(note.split()[2]) == 1


def test_a_tuned_model_is_written_without_packed_weights_where_there_is_no_way_to_have_them(pw, digits, tmp_path, monkeypatch):
    from pathweave import load
    from pathweave.errors import OutOfMemoryError
    from pathweave.runtime import packed

    def fail(*_):
        raise OutOfMemoryError("no memory for them")
    monkeypatch.setattr(packed, "collect", fail)
    done = pw("tune", digits, "--budget", 0, "--threads", 1, "-o", tmp_path / "m.pw", "--packed")
    assert done.code == 0 and "written without packed weights: no memory for them" in done.err
    assert "1 tuned route" in repr(load(tmp_path / "m.pw"))
