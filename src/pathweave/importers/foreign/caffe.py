"""Caffe and PaddlePaddle."""

from __future__ import annotations

import re

from . import Foreign, Peek, message_field

_PROTOTXT = re.compile(r'^\s*(layers?\s*\{|input\s*:\s*"|input_(dim|shape)\b|name\s*:\s*"[^"\n]*"\s*$)', re.MULTILINE)


def identify(peek: Peek) -> Foreign | None:
    """By the text of a network, or the first field of the message."""
    text = "\n".join(line for line in peek.text.splitlines() if not line.lstrip().startswith("#"))
    if _PROTOTXT.match(text) and re.search(r"\b(layers?\s*\{|input\b)", text):
        return Foreign("a network of Caffe (prototxt)", "convert it, with its caffemodel, to ONNX (caffe2onnx, or MMdnn)")
    first = message_field(peek.head)
    if first is None or first[:2] != (1, 2):
        return None
    _, _, payload, size = first
    if 0 < size < 256 and payload.isascii() and payload.decode("ascii").isprintable() and len(peek.head) > size + 3:
        following = peek.head[2 + size:]
        if following[:1] in (b"\x12", b"\x1a") or following[:2] == b"\xa2\x06":
            return Foreign("weights of Caffe (caffemodel)", "convert them, with their prototxt, to ONNX (caffe2onnx, or MMdnn)")
    if payload[:2] == b"\x08\x00" and payload[2:3] == b"\x10":
        return Foreign("a program of PaddlePaddle (pdmodel)",
                       "convert it to ONNX: paddle2onnx --model_dir FOLDER --model_filename FILE --params_filename "
                       "FILE.pdiparams --save_file model.onnx")
    return None
