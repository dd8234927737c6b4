# Two environments, so that the demo really runs on the light install:
#   .venv      what a user gets: .[cpu], no torch
#   .venv-dev  everything: training, export, linters, tests
# Each holds one stamp file, and is installed anew when a dependency changes.

PYTHON ?= python3
LIGHT := .venv
DEV := .venv-dev
DEV_BIN := $(DEV)/bin
FUZZ_SECONDS ?= 60
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz check format format-check lint types layers clean

help:
	@echo 'make demo       install the light runtime and extract triples from examples/notes'
	@echo 'make test       install everything and run the tests'
	@echo 'make test-slow  the tests with those that take minutes'
	@echo 'make fuzz       fuzz the readers and the extractor, FUZZ_SECONDS=60 each'
	@echo 'make check      format, lint, types, layers, tests'
	@echo 'make format     rewrite the sources in the house format'
	@echo 'make clean      remove the two environments and what the demo wrote'

demo: $(LIGHT)/.installed
	$(LIGHT)/bin/emlb-run examples/notes --out triples.jsonl
	@echo
	@echo 'The first of the triples in triples.jsonl:'
	@head -n 5 triples.jsonl

test: $(DEV)/.installed
	$(DEV_BIN)/python -m pytest

test-slow: $(DEV)/.installed
	$(DEV_BIN)/python -m pytest -m 'not gpu'

# Not among the dependencies: atheris has no wheel for every Python.
fuzz: $(DEV)/.installed
	@$(DEV_BIN)/python -c 'import atheris' 2>/dev/null || $(DEV_BIN)/python -m pip install --quiet atheris
	$(DEV_BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

check: format-check lint types layers test

format: $(DEV)/.installed
	$(DEV_BIN)/ruff check --fix .
	$(DEV_BIN)/ruff format .

format-check: $(DEV)/.installed
	$(DEV_BIN)/ruff format --check .

lint: $(DEV)/.installed
	$(DEV_BIN)/ruff check .

types: $(DEV)/.installed
	$(DEV_BIN)/mypy

layers: $(DEV)/.installed
	$(DEV_BIN)/lint-imports

clean:
	rm -rf $(LIGHT) $(DEV) triples.jsonl

$(LIGHT)/.installed: EXTRAS := cpu
$(DEV)/.installed: EXTRAS := cpu,train,export,dev

%/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'EMLB needs Python 3.11 or newer; $(PYTHON) is' \
	    "$$($(PYTHON) --version 2>&1)." 'Name another: make PYTHON=python3.12 …' >&2; \
	  exit 1; }
	@echo 'Installing .[$(EXTRAS)] into $*'
	@$(PYTHON) -m venv $*
	@$*/bin/python $(INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@
