"""Trigonometric and hyperbolic functions and their inverses; Sin, Cos and Tanh stand with the others of one element."""

from __future__ import annotations

from .elementwise import unary

OPERATORS = {name: unary(name.lower()) for name in ("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")}
