"""Normalised exponentials along one axis."""

from __future__ import annotations

OPERATORS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "hardmax": "Hardmax"}
