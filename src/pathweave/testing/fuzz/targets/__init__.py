"""Targets of the fuzzer: one file each, found by being here."""
