"""python -m pathweave: the same as `pathweave`."""

from .cli import main

if __name__ == "__main__":
    main()
