"""Loaded models: against ONNX Runtime, from files, with images."""

from __future__ import annotations

import copy
import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

import pathweave as pw
from pathweave import errors, html
from pathweave.errors import FileFormatError, InputError, ModelError, RouteError
from pathweave.net.net import Model
from pathweave.runtime.model import LoadedModel

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def inputs_of(model, batch=1) -> dict:
    rng = np.random.default_rng(11)
    return {n: rng.standard_normal([batch if isinstance(d, str) else d for d in s.shape]).astype(np.float32)
            for n, s in model.inputs.items()}


def same(ours: dict, theirs: dict) -> None:
    assert list(ours) == list(theirs)
    for name, wanted in theirs.items():
        assert ours[name].shape == wanted.shape and ours[name].dtype == wanted.dtype
        assert np.abs(ours[name] - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_default_route_agrees_with_onnxruntime(onnx_net, ort, threads, batch):
    model = pw.load(onnx_net, threads=threads)
    inputs = inputs_of(model, batch)
    same(model.run(inputs), ort(onnx_net, inputs))


@pytest.mark.parametrize("accuracy", ["strict", "f32"])
def test_routines_of_a_class_agree_with_onnxruntime(onnx_net, ort, accuracy):
    """Every candidate of the class once, in a net of its own choice."""
    from pathweave.runtime.conversions import conversions_for
    from pathweave.runtime.plan import build_plan
    model = pw.load(onnx_net)
    inputs = inputs_of(model, 2)
    wanted = ort(onnx_net, inputs)
    bound = model.bind({n: a.shape for n, a in inputs.items()})
    lists = [bound.candidates(i, 1, accuracy=accuracy)[0] for i in range(len(bound.layers))]
    for k in range(max(map(len, lists))):
        choices = {la.name: found[k % len(found)] for la, found in zip(bound.layers, lists)}
        plan = build_plan(bound, choices, conversions_for(bound, choices, 1), 1)
        same(plan.session().run(inputs), wanted)


def test_a_symbolic_batch(classifier, batch_of):
    x = batch_of(4)
    whole = classifier(x)
    assert classifier.inputs["x"].shape[0] == "N" and whole.shape == (4, 10)
    for i in range(4):
        assert np.allclose(classifier(x[i:i + 1]), whole[i:i + 1], atol=1e-6)


def test_outputs_are_described(classifier, adder):
    assert {n: s.shape for n, s in classifier.outputs.items()} == {"y": ("N", 10)}
    assert {n: s.shape for n, s in adder.outputs.items()} == {"sum": ("N", 6), "product": ("N", 6)}


def test_saved_and_loaded(onnx_net, tmp_path):
    model = pw.load(onnx_net)
    inputs = inputs_of(model, 2)
    wanted = model.run(inputs)
    model.save(tmp_path / "net.pw")
    again = pw.load(tmp_path / "net.pw")
    for name, array in again.run(inputs).items():
        assert np.array_equal(array, wanted[name])
    again.save(tmp_path / "again.pw")
    assert (tmp_path / "again.pw").read_bytes() == (tmp_path / "net.pw").read_bytes()


def test_a_loaded_model_is_a_model(classifier):
    assert isinstance(classifier, Model) and pw.load(classifier) is classifier
    assert pw.load(Model(classifier.nets)).main is classifier.main
    assert classifier == classifier and classifier != LoadedModel(classifier) and len({classifier}) == 1
    assert "10" not in repr(classifier.threads) or classifier.threads == 10
    assert "x=f32[N,3,16,16]" in repr(classifier)
    with pytest.raises(ModelError, match="main"):
        LoadedModel(Model({}))
    with pytest.raises(ModelError, match="'preprocess'"):
        classifier.runnable("preprocess")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08" * 100])
def test_files_that_are_no_models(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        pw.load(path)
    with pytest.raises(FileFormatError):
        pw.load(tmp_path / "missing.onnx")


# ---- images ----

PIPELINE = {"preprocess": [{"type": "source", "shape": [1, 1, 8, 8], "format": "gray"},
                           {"type": "madd", "scale": 1 / 255}, {"type": "sink", "name": "x"}],
            "postprocess": [{"type": "softmax", "axis": -1},
                            {"type": "topk", "k": 3, "labels": [f"digit {i}" for i in range(10)]}]}


@pytest.fixture
def digits():
    return pw.load(DIGITS / "digits.onnx", preprocess=PIPELINE)


def test_digits_agree_with_their_labels(ort):
    held = np.load(DIGITS / "heldout.npz")
    model = pw.load(DIGITS / "digits.onnx")
    logits = model(held["images"])
    assert (logits.argmax(1) == held["labels"]).mean() > 0.99
    same({"logits": logits}, ort((DIGITS / "digits.onnx").read_bytes(), {"x": held["images"]}))


@pytest.mark.parametrize("path", sorted(DIGITS.glob("images/*.png")), ids=lambda p: p.stem)
def test_an_image_file(digits, path):
    image = pytest.importorskip("PIL.Image")
    result = digits.predict(path)
    assert result["labels"][0, 0] == f"digit {path.stem.split('_')[1]}"
    assert result["values"].shape == (1, 3) and result["values"][0, 0] > 0.5
    pixels = np.asarray(image.open(path).convert("L"))
    for other in (str(path), pixels, image.open(path), {"image": np.repeat(pixels[..., None], 3, 2)}):
        again = digits.predict(other)
        assert np.allclose(again["values"], result["values"], atol=1e-3)
        assert again["labels"][0, 0] == result["labels"][0, 0]


def test_pipelines_are_saved(digits, tmp_path):
    path = next(DIGITS.glob("images/*.png"))
    digits.save(tmp_path / "digits.pw")
    again = pw.load(tmp_path / "digits.pw")
    assert list(again.nets) == list(digits.nets)
    assert again.predict(path)["labels"][0, 0] == digits.predict(path)["labels"][0, 0]


def test_pipelines_from_files(tmp_path, digits):
    """In one file, in two, and as lists; label files lie beside the JSON."""
    path = next(DIGITS.glob("images/*.png"))
    wanted = digits.predict(path)
    (tmp_path / "labels.txt").write_text("".join(f"digit {i}\n" for i in range(10)))
    post = [PIPELINE["postprocess"][0], {**PIPELINE["postprocess"][1], "labels": "labels.txt"}]
    files = {"both": {**PIPELINE, "postprocess": post}, "pre": {"preprocess": PIPELINE["preprocess"]}, "post": post}
    for name, data in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    for given in ({"preprocess": tmp_path / "both.json"},
                  {"preprocess": str(tmp_path / "pre.json"), "postprocess": tmp_path / "post.json"},
                  {"preprocess": PIPELINE["preprocess"], "postprocess": PIPELINE["postprocess"]},
                  {"preprocess": files["pre"], "postprocess": {"postprocess": PIPELINE["postprocess"]}}):
        result = pw.load(DIGITS / "digits.onnx", **given).predict(path)
        assert list(result["labels"][0]) == list(wanted["labels"][0])


def test_predict_without_a_pipeline(classifier, x, tmp_path):
    assert np.array_equal(classifier.predict(x)["y"], classifier(x))
    with pytest.raises(InputError, match="preprocess"):
        classifier.predict("image.png")


def test_images_that_are_none(digits, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match="image file"):
        digits.predict(tmp_path / "text.png")
    with pytest.raises(InputError, match="no such file"):
        digits.predict(tmp_path / "missing.png")
    with pytest.raises(InputError):
        digits.predict(np.zeros((8, 8, 3)))


# ---- copies, short texts, arguments that cannot be meant ------------------------------------------------------------

def _small():
    from pathweave.net.net import Layer, Model, Net, TensorSpec
    net = Net({"x": TensorSpec("f32", ("N", 4))}, ["y"], [Layer("d", "dense", ("x", "w"), ("y",))],
              {"w": np.arange(12, dtype=np.float32).reshape(3, 4)})
    return pw.load(Model({"main": net}, {"labels": ["a", "b"]}), threads=1)


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_used_model_is_copied_and_pickled(again):
    model, x = _small(), np.ones((2, 4), np.float32)
    model.add_route(pw.default_route(model, shapes={"x": (2, 4)}))
    wanted = model(x)
    other = again(model)
    assert np.array_equal(other(x), wanted) and type(other) is type(model)
    assert (other.threads, other.meta, other.routes) == (1, model.meta, model.routes)


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, pickle.dumps])
def test_plans_and_sessions_say_what_to_copy_instead(adder, again):
    plan = adder.plan(shapes={"a": (1, 6), "b": (1, 6)})
    for thing in (plan, plan.session()):
        with pytest.raises(InputError, match="pickle the model"):
            again(thing)


def test_a_tuned_model_is_pickled_with_its_report(tmp_path):
    tuned = pw.tune(_small(), threads=1, budget_s=0, progress=False, store=tmp_path / "store.sqlite")
    other = pickle.loads(pickle.dumps(tuned))
    assert other.report == tuned.report and other.route().layers == tuned.route().layers


def test_a_file_that_somebody_else_may_write(tmp_path):
    path, x = tmp_path / "m.pw", np.ones((2, 4), np.float32)
    model = _small()
    model.save(path)
    copied = pw.load(path, mapped=False)
    with open(path, "r+b") as f:
        f.truncate(8)
    assert np.array_equal(copied(x), model(x))
    assert not any(a.flags.writeable for a in copied.main.constants.values())


@pytest.mark.parametrize("name", ["x.onnx", "x.pt", "x.TFLITE", "x.safetensors"])
def test_a_name_that_says_another_format(tmp_path, name):
    with pytest.raises(InputError, match=r"expected a name such as x\.pw"):
        _small().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call, kind, text", [
    (lambda m: pw.load(m, thread=2), InputError, "unknown option 'thread'; did you mean 'threads'"),
    (lambda m: pw.plan(m, {}), RouteError, "expected a Route"),
    (lambda m: pw.plan({}), pw.Error, "expected a path or bytes"),
    (lambda m: pw.load(onnx.ModelProto()), pw.Error, r"got ModelProto; give the bytes of it: load\(model\.SerializeToString"),
    *((partial(f, accuracy="fast"), InputError, "accuracy 'fast': expected one of strict, f32")
      for f in (pw.tune, pw.profile, pw.default_route)),
    (lambda m: pw.default_route({}), pw.Error, "expected a path or bytes"),
    (lambda m: m(_Refuses()), InputError, "cannot be read through DLPack")])
def test_arguments_that_cannot_be_meant(call, kind, text):
    with pytest.raises(kind, match=text):
        call(_small())


def test_an_unknown_option_of_load_names_the_one_that_was_meant(tmp_path):
    _small().save(tmp_path / "m.pw")
    with pytest.raises(errors.OptionError, match="^load: unknown option 'thread'; did you mean 'threads'\\?$"):
        pw.load(tmp_path / "m.pw", thread=2)
    with pytest.raises(errors.OptionError, match="^load: unknown option 'narrow_double' of a .pw model; expected some of"):
        pw.load(tmp_path / "m.pw", narrow_double=True)


@pytest.mark.parametrize("function, options, says", [
    ("tune", {"budget": 2}, "tune: unknown option 'budget'; did you mean 'budget_s'?"),
    ("tune", {"routine": "naive"}, "tune: unknown option 'routine'; did you mean 'restrict'?"),
    ("profile", {"shape": {}}, "profile: unknown option 'shape'; did you mean 'shapes'?"),
    ("solve", {"time_limit": 1}, "solve: unknown option 'time_limit'; did you mean 'time_limit_s'?"),
    ("plan", {"threds": 1}, "plan: unknown option 'threds'; did you mean 'threads'?"),
    ("load", {"routine": "naive"}, "load: unknown option 'routine' of a LoadedModel, which was read already; expected none"),
    ("default_route", {"zzz": 1}, "default_route: unknown option 'zzz'; expected some of model, "
     "threads, shapes, accuracy, restrict")])
def test_an_unknown_option_names_the_one_that_was_meant(function, options, says):
    with pytest.raises(errors.OptionError) as e:
        getattr(pw, function)(_small(), **options)
    assert str(e.value) == says and isinstance(e.value, TypeError)


def test_errors_of_calls_state_the_declared_shape():
    """Also after a call of another shape, whose plan does not know the symbols."""
    net = pw.Net({"x": pw.TensorSpec("f32", ("N", 3, "W"))}, ["y"], [pw.Layer("r", "relu", ("x",), ("y",), {})], {})
    model = LoadedModel(Model({"main": net}, {}), 1)
    x = np.zeros((2, 3, 10), np.float32)
    for _ in range(2):
        for wrong in (x.astype("d"), x[:1, :, :4].astype("d")):
            with pytest.raises(errors.DTypeError) as e:
                model(wrong)
            assert "expected element type float32 (f32[N,3,W]), got float64" in str(e.value)
        model(x)


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_call_without_inputs_says_so(inputs):
    names = ["a", "b"][:inputs]
    spec = pw.TensorSpec("f32", (2,))
    layers = [pw.Layer(n, "relu", (n,), (f"y{n}",), {}) for n in names]
    net = pw.Net({n: spec for n in names}, [f"y{n}" for n in names], layers, {})
    with pytest.raises(InputError, match="no input was given; expected exactly the input.* 'a' ") as e:
        LoadedModel(Model({"main": net}, {}), 1)()
    assert "NoneType" not in str(e.value)


class _Refuses:
    def __dlpack__(self, **_):
        raise KeyError("no")

    def __dlpack_device__(self):
        return 1, 0


def test_short_texts_and_tables_for_notebooks(tmp_path):
    model = _small()
    route = pw.default_route(model)
    for thing in (model, route, pw.profile(model, threads=1, budget_s=0, progress=False, store=tmp_path / "store.sqlite")):
        assert len(repr(thing)) < 200 and repr(thing).startswith("<") and "<table>" in thing._repr_html_()
    assert "a &lt;b&gt;" in (text := html.table("a <b>", ["x"], [["<i>"]])) and "&lt;i&gt;" in text and "<i>" not in text
    assert "and 1 more rows" in html.table("", ["x"], [[i] for i in range(61)])


def test_a_model_whose_layers_do_not_fit_together_can_be_looked_at():
    """`load` does not look at shapes; a notebook that shows the model must not raise."""
    net = pw.Net({"x": pw.TensorSpec("f32", (2, 3))}, ["y"], [pw.Layer("add", "add", ("x", "k"), ("y",))],
                 {"k": np.ones((4, 5), np.float32)})
    model = pw.Model(Model({"main": net}))
    assert "2,3" in repr(model)
    assert "do not broadcast" in model._repr_html_()
