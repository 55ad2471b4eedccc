"""Plans and sessions as Python sees them: catalogue of candidates, bound nets, prepared kernels, routes applied."""
