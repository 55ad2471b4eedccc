"""Trigonometric and hyperbolic functions."""

OPERATORS = {name.lower(): name for name in ("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")}
