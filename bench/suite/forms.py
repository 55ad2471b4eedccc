"""Other forms of nets that the suite has as f32: quantised by ONNX Runtime's quantiser, and float16 by its converter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: Nets that get all the forms; those that are there are used, by their older exporter.
CONVOLUTIONAL = ("resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x1_0", "unet", "yolo8", "efficientnet_b0")
OTHERS = ("bert", "vit", "lstm_text", "gpt2")


class Samples:
    """The inputs of a net, one set of sizes after another, as ONNX Runtime's quantiser reads them."""

    def __init__(self, path: Path):
        self._sets: list[dict[str, np.ndarray]] = []
        for file in sorted(path.parent.glob(f"{path.name.split('.')[0]}.*.npz")):
            with np.load(file) as arrays:
                self._sets.append(dict(arrays))
        self._next = iter(self._sets)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._next, None)

    def rewind(self) -> None:
        self._next = iter(self._sets)


def _prepared(path: Path) -> Path:
    from onnxruntime.quantization.shape_inference import quant_pre_process
    ready = path.with_suffix(".ready")
    quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
    return ready


def _loads(path: Path) -> bool:
    import onnxruntime
    onnxruntime.set_default_logger_severity(4)
    try:
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return True
    except Exception:  # of many types
        return False


def _static(form: str, **options: Any) -> Callable[[Path, Path], None]:
    def write(path: Path, out: Path) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        ready = _prepared(path)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, **options}
        quantize_static(str(ready), str(out), Samples(path), quant_format=getattr(QuantFormat, form), **types)
        if not _loads(out):  # the quantiser gives a bias of QGemm the type u8 where another layer has it too
            import onnx
            products = [n.name for n in onnx.load(ready).graph.node if n.op_type == "Gemm"]
            quantize_static(str(ready), str(out), Samples(path), quant_format=getattr(QuantFormat, form),
                            nodes_to_exclude=products, **types)
        ready.unlink()
    return write


def _dynamic(path: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    ready = _prepared(path)
    quantize_dynamic(str(ready), str(out), weight_type=QuantType.QInt8)
    ready.unlink()


def _half(path: Path, out: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    onnx.save(convert_float_to_float16(onnx.load(path), disable_shape_infer=False), out)


#: Form -> (how it is written, the nets that get it).
FORMS: dict[str, tuple[Callable[[Path, Path], None], tuple[str, ...]]] = {
    "qdq": (_static("QDQ", per_channel=True), (*CONVOLUTIONAL, *OTHERS)),
    "qop": (_static("QOperator"), (*CONVOLUTIONAL, *OTHERS)),
    "dyn": (_dynamic, OTHERS),
    "f16": (_half, (*CONVOLUTIONAL, *OTHERS)),
}


def make_forms(folder: Path) -> dict[str, str]:
    """Write every form of the nets that the folder has; file -> reason for those that could not be made."""
    failed: dict[str, str] = {}
    for form, (write, names) in FORMS.items():
        for name in names:
            path, out = folder / f"{name}.l.onnx", folder / f"{name}.l.{form}.onnx"
            if not path.exists() or out.exists():
                continue
            try:
                write(path, part := out.with_suffix(".part"))
                part.rename(out)
                print(f"{out.stem}: written", flush=True)
            except Exception as e:  # the tools' own exceptions are of many types
                failed[out.stem] = f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"
                print(f"{out.stem}: {failed[out.stem]}", flush=True)
    return failed
