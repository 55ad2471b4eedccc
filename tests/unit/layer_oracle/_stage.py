"""A stage of a region's layer."""

from __future__ import annotations

from pathweave.net.net import Epilogue

from . import activated


def convolved(g, case, value, w, b, text, **attributes):
    """A convolution, and the activation after it that the text of an epilogue says."""
    y = g.node("Conv", [value, w, *([b] if b else [])], **attributes)[0]
    return activated(g, case, Epilogue.parse(text), y)
