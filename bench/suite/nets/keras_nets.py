"""Nets of Keras, with random weights: `k` is Keras' own export to ONNX, `t` is tf2onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from recipe import normal, tokens


@dataclass(frozen=True)
class KerasRecipe:
    """A Keras model, inputs at several batches, and the exporters that write it."""

    build: Callable[[], Any]
    shape: tuple[int, ...]
    ids: bool = False
    exporters: Sequence[str] = ("k", "t")
    sizes: Sequence[Mapping[str, int]] = field(default_factory=lambda: [{"n": 1}, {"n": 2}, {"n": 3}])

    def inputs(self, n: int) -> dict[str, np.ndarray]:
        """One input of a batch of n."""
        return {"x": tokens(n, *self.shape).astype(np.int32) if self.ids else normal(n, *self.shape)}

    def write(self, exporter: str, path: Path) -> None:
        """Write the model by one exporter."""
        keras.utils.set_random_seed(0)
        model = self.build()
        model(self.inputs(1)["x"])
        _settle(model)
        _teach_erfc()
        if exporter == "k":
            whole = path.with_suffix(".tmp.onnx")
            model.export(str(whole), format="onnx", verbose=False)
            whole.rename(path)
            return
        import tensorflow as tf
        import tf2onnx
        signature = [tf.TensorSpec((None, *self.shape), tf.int32 if self.ids else tf.float32, name="x")]
        call = tf.function(lambda x: model(x, training=False), input_signature=signature)
        proto, _ = tf2onnx.convert.from_function(call, input_signature=signature, opset=17)
        path.write_bytes(proto.SerializeToString())


def _settle(model: Any) -> None:
    """Numbers in the place of what is initialised as zeros or ones: they would hide what is lost."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        value = np.asarray(weight)
        if value.dtype == np.float32 and value.size > 1 and (value == value.flat[0]).all():
            low, high = (0.5, 1.5) if value.flat[0] == 1 else (-0.1, 0.1)
            weight.assign(random.uniform(low, high, value.shape).astype(np.float32))


def _teach_erfc() -> None:
    """TensorFlow's Erfc, of which gelu is made, as ONNX has it; without this, both exporters write an operator of no domain."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            inputs, shapes, dtypes = list(node.input), node.output_shapes, node.output_dtypes
            one = ctx.make_const(f"{node.name}_one", np.ones((), np.float32)).output[0]
            ctx.remove_node(node.name)
            erf = ctx.make_node("Erf", inputs, dtypes=dtypes, shapes=shapes).output[0]
            ctx.make_node("Sub", [one, erf], name=node.name, outputs=node.output, dtypes=dtypes, shapes=shapes)


def _application(name: str, size: int = 96, **options: Any) -> KerasRecipe:
    def build() -> Any:
        return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=50,
                                                 classifier_activation=None, **options)
    return KerasRecipe(build, (size, size, 3))


def _text(kind: str, bidirectional: bool = False, **options: Any) -> KerasRecipe:
    def build() -> Any:
        layer = getattr(keras.layers, kind)(24, return_sequences=True, **options)
        return keras.Sequential([keras.Input((20,), dtype="int32"), keras.layers.Embedding(100, 16),
                                 keras.layers.Bidirectional(layer) if bidirectional else layer,
                                 keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(5, "softmax")])
    return KerasRecipe(build, (20,), ids=True)


def _layers() -> Any:
    """Many layers of Keras one after another."""
    c = keras.layers
    return keras.Sequential([
        keras.Input((40, 40, 3)), c.Rescaling(1 / 127.5, -1), c.ZeroPadding2D(1), c.Conv2D(8, 3, 2, activation="swish"),
        c.SeparableConv2D(16, 3, padding="same"), c.LayerNormalization(), c.Conv2DTranspose(8, 4, 2, "same", activation="gelu"),
        c.DepthwiseConv2D(5, padding="same"), c.UnitNormalization(), c.GroupNormalization(4),
        c.UpSampling2D(2, interpolation="bilinear"),
        c.AveragePooling2D(2, padding="same"), c.SpatialDropout2D(0.2), c.Cropping2D(1), c.MaxPooling2D(3, 2, "same"),
        c.PReLU(shared_axes=[1, 2]), c.Reshape((-1, 8)), c.Conv1D(12, 5, dilation_rate=2, padding="causal", activation="selu"),
        c.Permute((2, 1)), c.Dense(7, activation="elu"), c.Flatten(), c.Dense(4, activation="softplus")])


def _attention() -> Any:
    c = keras.layers
    x = keras.Input((12, 16))
    y = c.MultiHeadAttention(4, 8)(x, x)
    y = c.LayerNormalization()(c.Add()([x, y]))
    y = c.Add()([y, c.Dense(16)(c.Dense(32, activation="gelu")(y))])
    return keras.Model(x, c.GlobalAveragePooling1D()(c.LayerNormalization()(y)))


NETS = {
    "k_mobilenet_v2": _application("MobileNetV2"),
    "k_mobilenet_v3": _application("MobileNetV3Small", include_preprocessing=True),
    # Its normalisation of inputs would become inputs of the file that nobody gives.
    "k_efficientnet_v2_b0": _application("EfficientNetV2B0", include_preprocessing=False),
    "k_nasnet_mobile": _application("NASNetMobile"), "k_densenet121": _application("DenseNet121"),
    "k_xception": _application("Xception"), "k_resnet50_v2": _application("ResNet50V2"),
    # ConvNeXt is left out: convolutions in groups become calls of functions, which are operators of no domain.
    "k_inception_v3": _application("InceptionV3"), "k_layers": KerasRecipe(_layers, (40, 40, 3)),
    "k_attention": KerasRecipe(_attention, (12, 16)), "k_lstm": _text("LSTM"), "k_gru": _text("GRU"),
    "k_bilstm": _text("LSTM", True), "k_rnn": _text("SimpleRNN"), "k_gru_before": _text("GRU", reset_after=False),
}
