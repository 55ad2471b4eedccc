"""Nets, models, formats, problems and routes: plain data that every other floor shares."""
