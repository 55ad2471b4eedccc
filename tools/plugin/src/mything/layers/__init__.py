"""Layer kinds, one file per family."""
