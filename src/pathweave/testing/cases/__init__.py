"""Case files, one per family of layer kinds; each defines CASES."""
