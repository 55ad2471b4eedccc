"""Every command on a small network: what it prints, its JSON, its exit code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pathweave import cli
from pathweave.cli import commands
from pathweave.report.timing import Load

#: The commands that README names; others join by being there.
KNOWN = {"import", "show", "profile", "tune", "explain", "run", "verify", "bench", "routines", "devices"}
NAMES = list(commands())


def reference(path, inputs: dict) -> dict:
    """What ONNX Runtime computes."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def test_every_command_is_a_file():
    folder = Path(cli.__file__).parent
    assert set(NAMES) >= KNOWN and len(NAMES) == len([f for f in folder.glob("*.py") if not f.name.startswith("_")])


@pytest.mark.parametrize("name", NAMES)
def test_help_of_every_command(pw, name):
    result = pw(name, "--help")
    assert result.code == 0 and result.out.startswith(f"Usage: pathweave {name}")


def test_help_lists_all(pw):
    result = pw("--help")
    assert result.code == 0
    assert all(re.search(rf"^\s+{name}\s", result.out, re.MULTILINE) for name in NAMES)


def test_version(pw):
    import pathweave
    assert pw("--version").out == f"pathweave {pathweave.__version__}\n"


# ---- import, show ---------------------------------------------------------------------------------------------------

def test_import_with_pipeline(pw, digits, pipeline, tmp_path):
    out = tmp_path / "digits.pw"
    result = pw("import", digits, "-o", out, "--preprocess", pipeline, "--postprocess", pipeline, "--json")
    assert result.code == 0 and set(result.json["nets"]) == {"preprocess", "main", "postprocess"}
    assert out.exists() and result.json["meta"]["labels"][7] == "digit 7"


def test_show_counts_parameters_and_operations(pw, digits):
    import onnx
    result = pw("show", digits, "--json").json
    by_kind = {layer["layer"]: layer for layer in result["layers"]}
    dense = next(layer for layer in by_kind.values() if layer["kind"] == "dense")
    assert dense["parameters"] == 96 * 10 + 10
    assert dense["operations"] == 2 * 96 * 10 + 10
    first = result["layers"][0]
    assert first["parameters"] == 32 * 9 + 32
    assert first["operations"] == 2 * 9 * 32 * 64 + 32 * 64 + 32 * 64  # products, bias, relu
    assert result["passes"]["before"]["batch_norm"] == sum(
        n.op_type == "BatchNormalization" for n in onnx.load(digits).graph.node)
    assert "batch_norm" not in result["passes"]["after"]
    assert result["inputs"]["x"] == {"declared": "f32[N,1,8,8]", "bound": "f32[1,1,8,8]", "format": "f32:nchw:cpu"}


def test_show_binds_shapes(pw, digits):
    for text in ("x=3x1x8x8", "3x1x8x8", "N=3"):
        assert pw("show", digits, "--shape", text, "--json").json["outputs"] == {"logits": "f32[3,10]"}


def test_show_prints_a_table(pw, digits):
    result = pw("show", digits)
    assert result.code == 0 and "depthwise_conv2" in result.out
    assert "passes: 22 layers as imported > 8 that run at these sizes" in result.out


def test_parameters_are_shown_as_f32_and_kept_whole(pw, tmp_path):
    from onnx import TensorProto, helper, numpy_helper
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 4, 4]) for n in "xy")
    weights = numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("LeakyRelu", ["c"], ["y"], alpha=0.1)]
    graph = helper.make_graph(nodes, "net", [x], [y], [weights])
    file = tmp_path / "net.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    assert re.search(r"leaky_relu:0\.1\s", pw("show", file).out)
    (layer,) = pw("show", file, "--json").json["layers"]
    assert layer["epilogue"] == f"leaky_relu:{float(np.float32(0.1))!r}"
    pw("profile", file, "--budget", 0, "--threads", 1)
    assert "epilogue=leaky_relu:0.1 threads=1\n" in pw("explain", file, 0, "--threads", 1).out
    assert layer["epilogue"] in pw("explain", file, 0, "--threads", 1, "--json").json["problem"]


def test_import_and_show_say_which_layers_they_count(pw, digits, tmp_path):
    from onnx import load
    out = tmp_path / "digits.pw"
    text = pw("import", digits, "-o", out).out
    count = int(re.search(r"main +(\d+) layers", text)[1])
    nodes = [n for n in load(digits).graph.node if n.op_type not in ("Constant", "Shape", "Gather", "Unsqueeze", "Concat")]
    assert f"\n{len(nodes)} layers imported, {count} after optimisation. `pathweave show {out}` lists them" in text
    shown = pw("show", out)
    assert f"passes: {count} layers in the file > {len(pw('show', out, '--json').json['layers'])} that run" in shown.out


# ---- catalogue, devices ---------------------------------------------------------------------------------------------

def test_routines(pw):
    import pathweave
    cards = pw("routines", "--json").json
    assert {c["id"] for c in cards} == {c["id"] for c in pathweave.routines()}
    assert {c["layer"] for c in pw("routines", "--layer", "dense", "--json").json} == {"dense"}
    assert all(not c["unavailable"] for c in pw("routines", "--available", "--json").json)
    assert pw("routines", "dense").out.rstrip().endswith("routines of dense")


def test_routines_on_a_narrow_terminal():
    """Names that are typed again, as `-r NAME`, are whole there; the rest folds away."""
    import os
    import pty
    import subprocess
    import sys

    from pathweave import routines
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "pathweave", "routines", "dense"], stdout=theirs,
                          env={**os.environ, "COLUMNS": "80", "TERM": "dumb"}) as process:
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 1 << 16):
                text += part
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    lines = [line.rstrip() for line in text.decode().splitlines()]
    assert process.returncode == 0 and max(map(len, lines)) <= 80, text.decode()
    assert {line.split()[0] for line in lines if line} >= {card["id"] for card in routines("dense")}


def test_devices(pw):
    facts = pw("devices", "--json").json
    assert set(facts["cpu"]["used"]) <= set(facts["cpu"]["found"]) and facts["usable_processors"] >= 1
    assert facts["devices"][0]["name"] == "cpu" and facts["devices"][0]["routines"] > 0
    text = pw("devices").out
    assert "caches" in text and "compiled" in text


# ---- run ------------------------------------------------------------------------------------------------------------

def test_run_array_writes_results(pw, digits, batch, tmp_path):
    out = tmp_path / "out.npz"
    assert pw("run", digits, batch, "-o", out).code == 0
    got = np.load(out)["logits"]
    wanted = reference(digits, {"x": np.load(batch)})["logits"]
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_run_json(pw, digits, batch):
    (result,) = pw("run", digits, batch, "--json").json
    facts = result["outputs"]["logits"]
    assert facts["shape"] == [4, 10] and facts["dtype"] == "float32"
    wanted = reference(digits, {"x": np.load(batch)})["logits"]
    np.testing.assert_allclose(facts["data"], wanted, atol=1e-4 * np.abs(wanted).max())
    for name, number in (("minimum", wanted.min()), ("maximum", wanted.max()), ("mean", wanted.mean())):
        assert facts["summary"][name] == pytest.approx(float(number), abs=1e-4 * float(np.abs(wanted).max()))
    for most, there in ((39, False), (40, True)):
        (result,) = pw("run", digits, batch, "--json", "--numbers", most).json
        assert ("data" in result["outputs"]["logits"]) == there
        assert result["outputs"]["logits"]["summary"] == facts["summary"]


def test_run_names_and_keys(pw, digits, heldout):
    (result,) = pw("run", digits, f"x={heldout}:images", "--json").json
    assert np.argmax(result["outputs"]["logits"]["data"], 1).shape == (360,)


def test_run_two_inputs(pw, two_inputs, tmp_path):
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((2, 3)).astype(np.float32) for _ in range(2))
    np.savez(tmp_path / "both.npz", a=a, b=b)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    for inputs in ([tmp_path / "both.npz"], [tmp_path / "a.npy", tmp_path / "b.npy"],
                   [f"b={tmp_path / 'b.npy'}", tmp_path / "a.npy"]):
        (result,) = pw("run", two_inputs, *inputs, "--json").json
        assert list(result["outputs"]) == ["sum", "product"]
        np.testing.assert_allclose(result["outputs"]["sum"]["data"], np.maximum(a, 0) + b, rtol=1e-6)
        np.testing.assert_allclose(result["outputs"]["product"]["data"], a * b, rtol=1e-6)


def test_run_images_through_preprocess(pw, digits, pipeline, tmp_path):
    pytest.importorskip("PIL")
    out = tmp_path / "digits.pw"
    assert pw("import", digits, "-o", out, "--preprocess", pipeline, "--postprocess", pipeline).code == 0
    images = sorted((digits.parent / "images").glob("*.png"))
    for extra in ([], ["--routine", "naive"]):
        results = pw("run", out, *images, "--json", *extra).json
        for image, result in zip(images, results, strict=True):
            label = image.stem.split("_")[1]
            assert result["outputs"]["labels"]["data"][0][0] == f"digit {label}"
    text = pw("run", out, images[0], "--top", 2).out
    assert "rank" in text and len(re.findall("digit ", text.replace(str(images[0]), ""))) == 2


def test_max_pixels_reaches_every_image(pw, digits, pipeline, tmp_path):
    """The shipped images have 8 x 8 pixels."""
    pytest.importorskip("PIL")
    out, folder = tmp_path / "digits.pw", digits.parent / "images"
    assert pw("import", digits, "-o", out, "--preprocess", pipeline).code == 0
    for words in (["run", out, folder], ["verify", out, "--data", folder, "--samples", 1],
                  ["bench", out, "--data", folder, "--rounds", 1],
                  ["tune", out, "--no-save", "--calibrate", folder, "--budget", 0],
                  ["import", out, "-o", tmp_path / "again.pw", "--calibrate", folder]):
        refused = pw(*words, "--max-pixels", 63)
        assert refused.code == 2 and "at most 63 pixels, got 8 x 8" in refused.err, refused.err
    assert pw("run", out, folder, "--max-pixels", 64).code == 0


def test_narrow_double_reaches_the_importer(pw, tmp_path):
    from onnx import TensorProto, helper, numpy_helper
    x, y = (helper.make_tensor_value_info(n, TensorProto.DOUBLE, [2, 3]) for n in "xy")
    weights = numpy_helper.from_array(np.ones((3, 3)), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "net", [x], [y], [weights])
    file, out = tmp_path / "net.onnx", tmp_path / "net.pw"
    file.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    assert "f64[2,3]" in pw("show", file).out
    pw("profile", file, "--budget", 0, "--threads", 1, "--narrow-double")
    for words in (["show", file, "--json"], ["explain", file, 0, "--threads", 1, "--json"],
                  ["import", file, "-o", out, "--json"],
                  ["run", file, "--random", "--json"], ["verify", file, "--samples", 1, "--json"],
                  ["bench", file, "--rounds", 1, "--json"], ["tune", file, "--no-save", "--budget", 0, "--json"]):
        assert pw(*words, "--narrow-double").code == 0, words
    assert "f32[2,3]" in str(pw("show", file, "--json", "--narrow-double").json["layers"])
    refused = pw("show", out, "--narrow-double")
    assert refused.code == 2 and "--narrow-double" in refused.err and ".pw model" in refused.err


def test_run_restricted_routine(pw, digits, batch):
    (plain,) = pw("run", digits, batch, "--json").json
    (naive,) = pw("run", digits, batch, "--json", "--routine", "naive").json
    np.testing.assert_allclose(naive["outputs"]["logits"]["data"], plain["outputs"]["logits"]["data"], atol=1e-4)


# ---- verify ---------------------------------------------------------------------------------------------------------

def test_verify_against_numpy(pw, digits):
    result = pw("verify", digits, "--samples", 2, "--layers", "--json")
    assert result.code == 0 and result.json["ok"] and 0 < result.json["largest"] < 1e-4
    assert [layer["index"] for layer in result.json["layers"]] == list(range(8))
    assert all(layer["rms"] < 1e-5 for layer in result.json["layers"])


def test_verify_fails_below_what_f32_can(pw, digits):
    result = pw("verify", digits, "--samples", 1, "--limit", "1e-12")
    assert result.code == 1 and "DIFFERS" in result.out


def test_verify_shows_what_leaves_the_range_of_f16(pw, tmp_path):
    import numpy as np
    from onnx import TensorProto, helper
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "x"], ["y"])], "net", [x], [y])
    file, samples = tmp_path / "net.onnx", tmp_path / "x.npz"
    file.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    np.savez(samples, x=np.float32([[1, 2, 3, 255], [-1, 0.1, 1e-4, 0], [1, 2, 3, 256], [-1, 0.1, 1e-4, 0]]))

    def rms(*words):
        result = pw("verify", file, "--data", samples, "--accuracy", "reduced", *words, "--json")
        return result.code, result.json["rms"]
    code, error = rms("--routine", "cpu:f16", "--samples", 1)
    assert code == 0 and 1e-6 < error < 1e-3
    assert rms("--routine", "cpu:f16") == (1, None)  # 256 * 256 is 65536
    assert rms("--routine", "cpu:bf16")[0] == 0


def test_profile_leaves_out_what_leaves_the_range_of_f16(pw, tmp_path):
    """Two equal layers, of which the second is infinite in f16."""
    from onnx import TensorProto, helper
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 64]) for n in "xy")
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["s", "c"], ["a"]),
             helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("Add", ["b", "a"], ["y"], name="last")]
    factor = helper.make_tensor("c", TensorProto.FLOAT, [1], [30000.0])
    graph = helper.make_graph(nodes, "net", [x], [y], [factor])
    file = tmp_path / "net.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    result = pw("profile", file, "--accuracy", "reduced", "--budget", 0, "--threads", 1, "--verify", "--json")
    wrong = result.json["notes"]["wrong"]
    assert [w["layer"] for w in wrong] == ["last"] and "error of inf" in wrong[0]["reason"], wrong
    assert wrong[0]["candidate"].startswith("add/broadcast:f16:plain:cpu ")


def test_verify_against_onnxruntime(pw, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    assert pw("verify", digits, "--against", "onnxruntime", "--samples", 1, "--shape", "N=3").code == 0
    saved = tmp_path / "digits.pw"
    pw("import", digits, "-o", saved)
    refused = pw("verify", saved, "--against", "onnxruntime")
    assert refused.code == 2 and "--onnx" in refused.err
    assert pw("verify", saved, "--against", "onnxruntime", "--onnx", digits, "--samples", 1).code == 0


# ---- bench ----------------------------------------------------------------------------------------------------------

def test_bench_against_onnxruntime(pw, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "bench.json"
    result = pw("bench", digits, "--against", "onnxruntime", "--rounds", 2, "--batch", 2, "--threads", 1, "--out", out,
                "--memory", "--json")
    assert result.code == 0, result.err
    engines = {e["engine"]: e for e in result.json["engines"]}
    assert set(engines) == {"pathweave", "onnxruntime"}
    assert engines["onnxruntime"]["difference"] < 1e-4 and engines["pathweave"]["ratio_minimum"] == 1.0
    assert all(e["count"] == 4 and 0 < e["minimum_ns"] <= e["median_ns"] for e in engines.values())
    assert engines["onnxruntime"]["ratio_minimum"] == pytest.approx(
        engines["onnxruntime"]["minimum_ns"] / engines["pathweave"]["minimum_ns"])
    assert result.json["run"]["shapes"] == {"x": [2, 1, 8, 8]}
    assert all(m["peak_bytes"] > m["base_bytes"] for m in result.json["memory"].values())
    assert out.exists()


def test_bench_lists_what_is_missing(pw):
    rows = pw("bench", "none", "--against", "list", "--json").json
    from pathweave.report.peers import peers
    assert {r["engine"] for r in rows} == set(peers())
    for row in rows:
        assert row["reason"].startswith("not installed: pip install") or row["version"]


# ---- profile, tune, explain -----------------------------------------------------------------------------------------

def test_profile_export_import(pw, digits, tmp_path, home):
    file = tmp_path / "profile.jsonl"
    first = pw("profile", digits, "--budget", 1, "--threads", 1, "--export", file, "--verify", "--json")
    assert first.code == 0, first.err
    assert first.json["notes"]["known"] == first.json["notes"]["candidates"] or first.json["notes"]["unmeasured"] > 0
    assert all(row["median_ns"] > 0 for row in first.json["layers"])
    (home / "profile.sqlite").unlink()
    again = pw("profile", digits, "--budget", 0, "--threads", 1, "--import", file, "--json")
    assert again.code == 0 and again.json["imported"] > 0
    assert {r["layer"]: r["measured"] for r in again.json["layers"]} == {
        r["layer"]: r["measured"] for r in first.json["layers"]}


def test_tune_saves_and_explains(pw, digits, tmp_path):
    out = tmp_path / "tuned.pw"
    result = pw("tune", digits, "-o", out, "--budget", 3, "--threads", 1, "--json")
    assert result.code == 0, result.err
    facts = result.json
    assert facts["route"]["predicted_ns"] > 0 and facts["route"]["measured_ns"] > 0 and facts["report"]["race"]
    report = facts["report"]
    assert report["gap"] == pytest.approx(report["predicted_ns"] / report["measured_at_reference_ns"] - 1)
    assert report["gap_raw"] == pytest.approx(report["predicted_ns"] / report["measured_ns"] - 1)
    speed = report["speed"]["race"]
    assert 0 < speed["slowest"] <= speed["median"] <= speed["fastest"] and 0 <= speed["interrupted"] < 1
    layers = [s for s in facts["route"]["steps"] if s["kind"] not in ("adapt", "copy")]
    merged = sum(len(members) - 1 for members in facts["route"]["regions"].values())
    assert len(layers) + merged == 8 and all(s["routine"] and s["measured_ns"] >= 0 and s["predicted_ns"] > 0 for s in layers)
    assert pw("verify", out, "--threads", 1, "--samples", 1).code == 0

    shown = pw("show", out)
    assert "route, 1 thread\n" in shown.out
    explained = pw("explain", out, 1, "--threads", 1, "--json").json
    assert explained["index"] == 1 and explained["chosen"]["routine"] in {c["routine"] for c in explained["candidates"]}
    by_name = pw("explain", out, explained["layer"], "--threads", 1)
    assert by_name.code == 0 and "candidates" in by_name.out and "chosen" in by_name.out
    assert len(pw("explain", out, "--all", "--threads", 1, "--json").json["steps"]) >= 8
    assert "predicted" in pw("explain", digits, "--all", "--threads", 1).out  # not tuned: solved from the store
    measured = {c["routine"].partition(":")[0] for c in explained["candidates"] if c["cost_ns"] is not None}
    assert len(measured) > 1
    for routine in measured:  # one of them is in the tuned route
        steps = pw("explain", out, "--all", "--threads", 1, "--routine", f"{routine}@1", "--json").json["steps"]
        assert [s["routine"].partition(":")[0] for s in steps if s["index"] == 1] == [routine]
    assert "tuned route" in pw("explain", out, "--all", "--threads", 1).out
    assert "among what --routine allows" in pw("explain", out, "--all", "--threads", 1, "--routine", "f32").out


def test_tune_restricted(pw, digits):
    result = pw("tune", digits, "--no-save", "--budget", 0.5, "--threads", 1, "--routine", "cpu:f32:nchw16c", "--routine",
                "conv2/direct@1", "--json")
    assert result.code == 0, result.err
    first = next(s for s in result.json["route"]["steps"] if s["index"] == 1)
    assert first["routine"].startswith("conv2/direct")


def test_tune_prints_tables(pw, digits):
    result = pw("tune", digits, "--no-save", "--budget", 0.5, "--threads", 1)
    assert result.code == 0
    for word in ("routine", "formats", "predicted", "measured", "the race", "tuned in", "variant: micro-kernel",
                 "margin: by how", "prediction: + where a route ran faster"):
        assert word in result.out
    race = result.out.partition("the race, interleaved")[2].partition("predicted, at equal speed")[0].splitlines()
    assert sum(line.rstrip().endswith("kept") for line in race) == 1
    assert "docs/prediction.md" in result.out and re.search(r"load average [\d.]+ before, [\d.]+ after", result.out)


def test_tune_prints_one_prediction(pw, digits):
    """Above the race, in it and below it stand the same numbers: those of before the race."""
    text = pw("tune", digits, "--no-save", "--budget", 0.5, "--threads", 1).out
    above = re.search(r"^predicted (-?[\d.]+ \w+)", text, re.M)[1]
    kept = next(line for line in text.splitlines() if line.rstrip().endswith("kept"))
    predicted, percent = re.search(r"([\d.]+ [nmu]?s) +[\d.]+ [nmu]?s +([+-][\d.]+) %", kept).groups()
    below, word = re.search(r"predicted ([\d.]+) % (more|less) than measured at equal speed", text).groups()
    assert predicted == above and abs(float(percent)) == pytest.approx(float(below), abs=0.06)
    assert word == ("less" if percent.startswith("-") else "more")
    clock = re.findall(r"predicted ([\d.]+ % \w+) than measured by the clock", text)
    clock += re.findall(r"at equal speed, ([\d.]+ % \w+) than measured by the clock", text)
    assert len(clock) == 2 and clock[0] == clock[1] and "than predicted" not in text.partition("the race")[0]


@pytest.mark.parametrize("whole, before, after, words", [
    (20.7e6, 5.0, 7.0, ["16.2 ms of the 20.7 ms", "other processes hold the processors", "load average 7.0 on 2 processors"]),
    (20.7e6, 0.0, 2.0, ["16.2 ms of the 20.7 ms", "what takes it is not known"]),
    (20.7e6, None, None, ["16.2 ms of the 20.7 ms", "what takes it is not known"]),
    (5.0e6, 5.0, 7.0, [])])
def test_time_outside_of_the_steps_is_told(whole, before, after, words):
    from pathweave.cli.tune import outside_of_steps
    told = outside_of_steps(whole, 4.46e6, 4.24e6, Load(before, after), threads=2, processors=2)
    assert len(told) == bool(words) and all(w in told[0] for w in words)


def nanoseconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[unit]


def test_the_parts_of_a_prediction_add_up(pw, digits, tmp_path):
    out = tmp_path / "tuned.pw"
    facts = pw("tune", digits, "-o", out, "--budget", 0.5, "--threads", 1, "--json").json["route"]
    text = pw("explain", out, "--all", "--threads", 1).out
    time = r"(-?[\d.]+ \w+)"
    whole, steps, call = re.search(f"predicted {time}: {time} of the steps, {time} of the call", text).groups()
    assert nanoseconds(whole) == pytest.approx(facts["predicted_ns"], rel=0.01)
    assert nanoseconds(steps) == pytest.approx(sum(s["predicted_ns"] for s in facts["steps"]), rel=0.01)
    assert nanoseconds(steps) + nanoseconds(call) == pytest.approx(facts["predicted_ns"], rel=0.02)
    difference, word = re.search(r"; predicted ([\d.]+) % (more|less) than measured by the clock", text).groups()
    signed = float(difference) * (1 if word == "more" else -1)
    assert signed == pytest.approx(100 * (facts["predicted_ns"] / facts["end_to_end_ns"] - 1), abs=0.06)
