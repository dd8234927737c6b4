# Two environments, so that the demo really runs on the light install:
#   .venv      what a user gets: .[cpu], no torch
#   .venv-dev  everything: training, export, linters, tests
# and two for tests of libraries that do not go together with these:
#   .venv-optimum        optimum, which needs transformers 4
#   .venv-transformers5  transformers 5
# Each holds one stamp file, and is installed anew when a dependency changes.
#
# With LOCKED=1, as in CI, they get what .ci/*.lock names, by hash, and nothing else: for Linux
# on x86-64, Python 3.11 and the CPU build of torch.

PYTHON ?= python3
LIGHT := .venv
DEV := .venv-dev
DEV_BIN := $(DEV)/bin
OPTIMUM := .venv-optimum
NEWER := .venv-transformers5
FUZZ_SECONDS ?= 60
# Processes that run the tests; auto: as many as this machine has cores and memory for.
JOBS ?= auto
INSTALL := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-optimum test-transformers5 fuzz check format format-check lint types layers docs audit lock release clean

help:
	@echo 'make demo       install the light runtime and extract triples from examples/notes'
	@echo 'make test       install everything and run the tests, JOBS=auto at a time'
	@echo 'make test-slow  the tests with those that take minutes'
	@echo 'make test-optimum        the tests that need optimum'
	@echo 'make test-transformers5  those of training and export with transformers 5'
	@echo 'make fuzz       fuzz the readers and the extractor, FUZZ_SECONDS=60 each'
	@echo 'make check      format, lint, types, layers, known vulnerabilities, tests'
	@echo 'make format     rewrite the sources in the house format'
	@echo 'make lock       write the hashes that CI installs by, .ci/*.lock, anew'
	@echo 'make docs       build the documentation into .site'
	@echo 'make release VERSION=X  changelog, version, tag, wheel, sdist and SBOM of a release'
	@echo 'make clean      remove the environments and what the demo wrote'

demo: $(LIGHT)/.installed
	$(LIGHT)/bin/emlb-run examples/notes --out triples.jsonl
	@echo
	@echo 'The first of the triples in triples.jsonl:'
	@head -n 5 triples.jsonl

test: $(DEV)/.installed
	$(DEV_BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

test-slow: $(DEV)/.installed
	$(DEV_BIN)/python -m pytest -m 'not gpu'

OPTIMUM_TESTS := tests/export/test_optimum_*.py tests/export/test_bert.py tests/emlb/test_loading.py
test-optimum: $(OPTIMUM)/.installed
	$(OPTIMUM)/bin/python -m pytest --numprocesses $(JOBS) --dist worksteal $(OPTIMUM_TESTS)

NEWER_TESTS := tests/export $(addprefix tests/emlb/test_,attention_loss.py distillation.py heads.py \
  loading.py model.py pretrained.py pretraining.py schedule.py start.py training.py)
test-transformers5: $(NEWER)/.installed
	$(NEWER)/bin/python -m pytest --numprocesses $(JOBS) --dist worksteal $(NEWER_TESTS)

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
	$(DEV_BIN)/python .ci/audit.py .ci/optimum.lock $(AUDIT)  # dev.lock and more
	$(DEV_BIN)/python .ci/audit.py .ci/transformers5.lock $(AUDIT)

# constraints.txt with the versions of another file in place of its own.
MERGE = awk -F== 'FILENAME == ARGV[1] {own[$$1]} FILENAME == ARGV[1] || !($$1 in own)' $(1) \
  constraints.txt

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
	@$(COMPILE) --constraint .ci/dev.lock --output-file .ci/optimum.lock \
	  --extra cpu --extra optimum --extra dev
	@merged=$$(mktemp) && $(call MERGE,.ci/transformers5.txt) >"$$merged" && \
	  $(COMPILE) --constraint "$$merged" --no-annotate --output-file .ci/transformers5.lock \
	  --extra cpu --extra export --extra dev && rm "$$merged"
	@grep -q '^torch==.*+cpu ' .ci/dev.lock && grep -q '^torch==.*+cpu ' .ci/transformers5.lock || { \
	  echo 'No CPU build of torch was found: UV_FIND_LINKS=FOLDER, or UV_TORCH_BACKEND=cpu' >&2; \
	  exit 1; }

release: $(DEV)/.installed
	@test -n '$(VERSION)' || { echo 'Name the version: make release VERSION=0.2.0' >&2; exit 1; }
	$(DEV_BIN)/python scripts/release.py $(VERSION)

clean:
	rm -rf $(LIGHT) $(DEV) $(OPTIMUM) $(NEWER) triples.jsonl

$(LIGHT)/.installed: EXTRAS := cpu
$(LIGHT)/.installed: LOCKED_BY := .ci/light.lock
$(DEV)/.installed: EXTRAS := cpu,train,export,dev
$(DEV)/.installed: LOCKED_BY := .ci/dev.lock
$(OPTIMUM)/.installed: EXTRAS := cpu,optimum,dev
$(OPTIMUM)/.installed: LOCKED_BY := .ci/optimum.lock
$(NEWER)/.installed: EXTRAS := cpu,export,dev
$(NEWER)/.installed: LOCKED_BY := .ci/transformers5.lock
$(NEWER)/.installed: VERSIONS := .ci/transformers5.txt
ifdef LOCKED
$(LIGHT)/.installed: .ci/light.lock
$(DEV)/.installed: .ci/dev.lock
$(OPTIMUM)/.installed: .ci/optimum.lock
$(NEWER)/.installed: .ci/transformers5.lock
else
$(NEWER)/.installed: .ci/transformers5.txt
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
	@$(call MERGE,$(or $(VERSIONS),/dev/null)) >$*/constraints.txt
	@$*/bin/python $(INSTALL) --constraint $*/constraints.txt --editable '.[$(EXTRAS)]'
endif
	@touch $@
