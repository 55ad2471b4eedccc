"""What nets compute: evaluation in NumPy, partial evaluation, and shapes with open sizes."""
