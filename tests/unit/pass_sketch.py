"""Write small float64 nets down layer by layer, rewrite them, and compare their outputs."""

from __future__ import annotations

import numpy as np

from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Epilogue, Layer, Net, TensorSpec
from pathweave.passes import bind, optimise

NO_EPILOGUE = Epilogue()


class Sketch:
    """A float64 net, written down layer by layer."""

    def __init__(self, *shape, symbolic=False, seed=0):
        self.random = np.random.default_rng(seed)
        self.inputs, self.layers, self.constants = {}, [], {}
        self.input("x", *(shape or (2, 4, 6, 5)), symbolic=symbolic)

    def input(self, name, *shape, symbolic=False):
        dims = tuple(f"{name}{i}" for i in range(len(shape))) if symbolic else shape
        self.inputs[name] = (TensorSpec("f64", dims), self.random.standard_normal(shape))
        return name

    def const(self, value, dtype=np.float64):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def weights(self, *shape, low=-1.0):
        return self.const(self.random.uniform(low, 1.0, shape))

    def op(self, kind, *inputs, outputs=1, epilogue=NO_EPILOGUE, **attrs):
        names = tuple(f"v{len(self.layers)}{'abc'[i] if outputs > 1 else ''}" for i in range(outputs))
        self.layers.append(Layer(f"{kind}_{len(self.layers)}", kind, inputs, names, attrs, epilogue))
        return names[0] if outputs == 1 else names

    def conv(self, x, cin=4, cout=4, k=3, bias=True, groups=1, pad=(1, 1, 1, 1), **attrs):
        operands = [x, self.weights(cout, cin // groups, k, k)] + ([self.weights(cout)] if bias else [])
        return self.op("conv2", *operands, groups=groups, pad=pad, **attrs)

    def check(self, *outputs, unbound=False):
        """Rewrite; compare outputs in float64; return the kinds (with epilogues) of the rewritten net, in order."""
        net = Net({n: s for n, (s, _) in self.inputs.items()}, list(outputs), self.layers, self.constants)
        net.check()
        feeds = {n: a for n, (_, a) in self.inputs.items()}
        before = evaluate(net, feeds)
        shapes = {n: a.shape for n, a in feeds.items()}
        results = {"optimised": optimise(net), "bound": bind(net, shapes), "both": bind(optimise(net), shapes)}
        for what, result in results.items():
            result.check()
            assert result.outputs == list(outputs)
            after = evaluate(result, feeds)
            for v in outputs:
                assert after[v].shape == before[v].shape and after[v].dtype == before[v].dtype, what
                np.testing.assert_allclose(after[v], before[v], rtol=1e-10, atol=1e-10, err_msg=what)
        self.result = results["optimised" if unbound else "bound"]
        # Once more changes nothing: the fixed point is one.
        again = bind(results["bound"], shapes)
        assert kinds(again) == kinds(results["bound"])
        return kinds(self.result)


def kinds(net):
    return [layer.kind + (f"+{layer.epilogue}" if layer.epilogue else "") for layer in net.layers]


def norm(s, x, channels=4):
    return s.op("batch_norm", x, *(s.weights(channels) for _ in range(3)), s.weights(channels, low=0.1), epsilon=1e-3)
