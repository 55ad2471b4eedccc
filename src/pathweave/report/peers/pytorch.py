"""PyTorch: the ONNX file rebuilt as a module, channels-last; traced and frozen, and through torch.compile, in f32 and bf16."""

from __future__ import annotations

from functools import partial

from . import Declined, Engine, Peer, Task
from ._onnx_torch import convert


def load(task: Task, how: str) -> Engine:
    """A frozen trace (`trace`), torch.compile with frozen weights (`compile`), or the same under autocast (`bf16`)."""
    import torch
    if how == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise Declined("its library has no bf16 kernels for this processor")
    torch.set_num_threads(task.threads)
    module = convert(task.onnx).to(memory_format=torch.channels_last)
    feed = [torch.from_numpy(a) for a in task.inputs.values()]
    feed = [t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in feed]
    reduced = torch.autocast("cpu", torch.bfloat16, enabled=how == "bf16")
    with torch.no_grad(), reduced:
        if how == "trace":
            run = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(module, tuple(feed))))
        else:
            import torch._inductor.config as inductor
            inductor.freezing = True
            run = torch.compile(module)
        try:
            run(*feed)
        except Exception as e:  # compilers raise whatever they like
            raise Declined(f"{how} fails: {type(e).__name__}: {str(e)[:200]}") from e

    def call() -> list:
        with torch.no_grad(), reduced:
            return [y.float().numpy() for y in run(*feed)]
    return call


PEERS = [Peer("pytorch", ("torch", "onnx"), "torch onnx", partial(load, how="trace")),
         Peer("pytorch-compile", ("torch", "onnx"), "torch onnx", partial(load, how="compile")),
         Peer("pytorch-compile-bf16", ("torch", "onnx"), "torch onnx", partial(load, how="bf16"), "reduced")]
