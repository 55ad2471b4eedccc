"""What nets compute: evaluation in NumPy, partial evaluation, and trials of what an input may be."""
