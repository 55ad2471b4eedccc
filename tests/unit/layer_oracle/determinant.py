"""Determinants."""

OPERATORS = {"det": "Det"}
