"""Candidates and costs, solvers, the race, and the tuner that puts them together."""
