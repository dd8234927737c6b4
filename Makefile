# Two environments, so that the demo really runs on the light install:
#   .venv      what a user gets: .[cpu], no torch
#   .venv-dev  everything: training, export, linters, tests
# Each holds one stamp file, and is installed anew when a dependency changes.
#
# With LOCKED=1, as in CI, they get what .ci/*.lock names, by hash, and nothing else: for Linux
# on x86-64, Python 3.11 and the CPU build of torch.

PYTHON ?= python3
LIGHT := .venv
DEV := .venv-dev
DEV_BIN := $(DEV)/bin
FUZZ_SECONDS ?= 60
# Processes that run the tests; auto: as many as this machine has cores and memory for.
JOBS ?= auto
INSTALL := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz check format format-check lint types layers docs audit lock release clean

help:
	@echo 'make demo       install the light runtime and extract triples from examples/notes'
	@echo 'make test       install everything and run the tests, JOBS=auto at a time'
	@echo 'make test-slow  the tests with those that take minutes'
	@echo 'make fuzz       fuzz the readers and the extractor, FUZZ_SECONDS=60 each'
	@echo 'make check      format, lint, types, layers, known vulnerabilities, tests'
	@echo 'make format     rewrite the sources in the house format'
	@echo 'make lock       write the hashes that CI installs by, .ci/*.lock, anew'
	@echo 'make docs       build the documentation into .site'
	@echo 'make release VERSION=X  changelog, version, tag, wheel, sdist and SBOM of a release'
	@echo 'make clean      remove the two environments and what the demo wrote'

demo: $(LIGHT)/.installed
	$(LIGHT)/bin/emlb-run examples/notes --out triples.jsonl
	@echo
	@echo 'The first of the triples in triples.jsonl:'
	@head -n 5 triples.jsonl

test: $(DEV)/.installed
	$(DEV_BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

test-slow: $(DEV)/.installed
	$(DEV_BIN)/python -m pytest -m 'not gpu'

# Not among the dependencies: atheris has no wheel for every Python.
fuzz: $(DEV)/.installed
	@$(DEV_BIN)/python -c 'import atheris' 2>/dev/null || $(DEV_BIN)/python -m pip install --quiet atheris
	$(DEV_BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

check: format-check lint types layers docs audit test

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

docs: $(DEV)/.installed
	NO_MKDOCS_2_WARNING=1 $(DEV_BIN)/mkdocs build --strict --quiet --site-dir .site

# AUDIT='--ignore-vuln ID' for what has been judged harmless here.
audit: $(DEV)/.installed
	$(DEV_BIN)/python .ci/audit.py .ci/dev.lock $(AUDIT)

# uv does not read pip's configuration; LOCK=--upgrade takes the newest that constraints.txt allows.
COMPILE = printf 'hatchling>=1.26\neditables\n' | $(DEV_BIN)/uv pip compile pyproject.toml - \
  --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
  --custom-compile-command 'make lock' $(LOCK)

lock: export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
lock: $(DEV)/.installed
	@test -x $(DEV_BIN)/uv || $(DEV_BIN)/python $(INSTALL) uv
	@$(COMPILE) --constraint constraints.txt --output-file .ci/dev.lock \
	  --extra cpu --extra train --extra export --extra dev
	@$(COMPILE) --constraint .ci/dev.lock --output-file .ci/light.lock --extra cpu
	@grep -q '^torch==.*+cpu ' .ci/dev.lock || { \
	  echo 'No CPU build of torch was found: UV_FIND_LINKS=FOLDER, or UV_TORCH_BACKEND=cpu' >&2; \
	  exit 1; }

release: $(DEV)/.installed
	@test -n '$(VERSION)' || { echo 'Name the version: make release VERSION=0.2.0' >&2; exit 1; }
	$(DEV_BIN)/python scripts/release.py $(VERSION)

clean:
	rm -rf $(LIGHT) $(DEV) triples.jsonl

$(LIGHT)/.installed: EXTRAS := cpu
$(LIGHT)/.installed: LOCKED_BY := .ci/light.lock
$(DEV)/.installed: EXTRAS := cpu,train,export,dev
$(DEV)/.installed: LOCKED_BY := .ci/dev.lock
ifdef LOCKED
$(LIGHT)/.installed: .ci/light.lock
$(DEV)/.installed: .ci/dev.lock
endif

%/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'EMLB needs Python 3.11 or newer; $(PYTHON) is' \
	    "$$($(PYTHON) --version 2>&1)." 'Name another: make PYTHON=python3.12 …' >&2; \
	  exit 1; }
	@echo 'Installing .[$(EXTRAS)] into $*'
	@$(PYTHON) -m venv $*
ifdef LOCKED
	@$*/bin/python $(INSTALL) --require-hashes --requirement $(LOCKED_BY)
	@$*/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
else
	@$*/bin/python $(INSTALL) --constraint constraints.txt --editable '.[$(EXTRAS)]'
endif
	@touch $@
