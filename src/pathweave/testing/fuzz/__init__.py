"""A fuzzer: hostile models, files, routes, images and calls, each in a process with little memory and time.

    python -m pathweave.testing.fuzz --cases 3000

One file per target in `targets/`, found by being there; see `target.Target`. Whatever is handed in must end in an answer
or in a `pathweave.Error`: a crash, a hang, memory beyond the limit and any other exception are findings.
"""
