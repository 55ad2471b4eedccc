"""Cases of the conformance suite, one file per family of layer kinds."""
