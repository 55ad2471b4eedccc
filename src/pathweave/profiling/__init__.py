"""What was measured on which machine: measurements, the store that keeps them, profiles, host fingerprints."""
