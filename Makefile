# Two commands do everything on a fresh Debian with Python 3.10 or later, git and gcc: make demo, make test.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
NETS ?= nets
AGAINST ?= onnxruntime
PART ?= all
SECONDS_AT_MOST ?= inf
export PYTHON VENV

.PHONY: demo test lint sanitize bench install clean help

help:           ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

install:        ## build and install into .venv
	@tools/system.sh $(EXTRAS)

demo: EXTRAS = demo
demo: install   ## tune the shipped network on this machine and run it on real images
	@$(BIN)/python examples/demo.py

test: EXTRAS = demo test
test: install   ## run the whole test suite
	@$(BIN)/python -m pytest $(PYTEST)

lint: EXTRAS = demo test lint
lint: install   ## check style, types, floors, the drawing in DESIGN.md, and symbols of micro-kernel objects
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python tools/floors.py
	@$(BIN)/python tools/tree.py
	@$(BIN)/python tools/isa_symbols.py build

sanitize: EXTRAS = demo test sanitize
sanitize: install ## run what reads and writes memory under sanitizers; PART=ci: ten minutes of it; SECONDS_AT_MOST=N ends it
	@$(BIN)/python tools/sanitize.py --part $(PART) --seconds $(SECONDS_AT_MOST)

bench: EXTRAS = demo test
bench: install  ## time the networks of bench/nets.toml in NETS against AGAINST, write bench/results/
	@$(BIN)/python bench/peers/run.py --nets $(NETS) --against $(AGAINST)

clean:          ## remove what was built
	rm -rf build build-sanitize dist $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests tools bench examples -name __pycache__ -type d -prune -exec rm -rf {} +
