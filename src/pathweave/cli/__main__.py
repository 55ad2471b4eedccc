"""python -m pathweave.cli: the same as `pathweave`."""

from . import main

if __name__ == "__main__":
    main()
