# Everything happens in .venv, which the first target makes; nothing needs root.
# An extra is installed again only when pyproject.toml or constraints.txt has changed.

SHELL := /bin/bash
PYTHON := .venv/bin/python
PYTEST_ARGS ?=
# How many tests run at a time; many wait for worker processes of their own now and then.
TEST_PROCESSES ?= 2
INSTALL = $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CANDIDATES := python3 python3.13 python3.12 python3.11

# Tests, examples and workers are hundreds of processes. Where this variable is set, each of them
# would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test table lint docs bench gpu clean

help:
	@echo "make demo    train one CNN under every strategy and compare them"
	@echo "make test    run the tests; PYTEST_ARGS='-m \"not slow\"' leaves out the slow ones"
	@echo "make table   check every layer, loss and update rule; write docs/coverage.md"
	@echo "make lint    ruff and mypy"
	@echo "make docs    build the documentation into docs/_build/html"
	@echo "make bench   measure minidl, beside PyTorch where .venv has it"
	@echo "make gpu     check and measure minidl on this machine's GPU; writes docs/gpu.md"
	@echo "make clean   remove .venv and everything that was built"

demo: .venv/.core
	.venv/bin/minidl compare digits
	@echo "Next: source .venv/bin/activate, after which minidl is found; or type .venv/bin/minidl"

test: .venv/.test
	$(PYTHON) -m pytest --numprocesses $(TEST_PROCESSES) --dist loadgroup $(PYTEST_ARGS)

# Left out is the test that looks at the page as it was before.
table: .venv/.test
	MINIDL_TABLE=docs/coverage.md $(PYTHON) -m pytest tests/table -k "not the_page_shows"

lint: .venv/.dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs: .venv/.docs
	$(PYTHON) -m sphinx --quiet -W --keep-going --jobs 2 -b html docs docs/_build/html
	@echo "docs/_build/html/index.html is ready"

bench: .venv/.core
	$(PYTHON) -m benchmarks

# Where the system's own Python has CuPy, that is used: with what else it has, or in .venv/gpu,
# which sees the system's packages. Without a network, the system's Python does what it can.
gpu:
	@python=python3; \
	if ! python3 -c 'import sys, cupy; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  $(MAKE) .venv/.gpu || exit; \
	  python=$(PYTHON); \
	elif ! python3 -c 'import sys; from benchmarks.gpu import missing; sys.exit(bool(missing()))'; \
	then $(MAKE) .venv/gpu/.test && python=.venv/gpu/bin/python; \
	fi; \
	$$python -m benchmarks.gpu docs/gpu.md

clean:
	rm -rf .venv build dist docs/_build docs/jupyter_execute .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find minidl tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@for candidate in $(CANDIDATES); do \
	  if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    >/dev/null 2>&1; then \
	    echo "Making .venv with $$candidate ($$($$candidate --version))"; \
	    $$candidate -m venv .venv || rm -rf .venv; \
	    break; \
	  fi; \
	done; \
	if [ ! -x .venv/bin/python ]; then \
	  echo "None of $(CANDIDATES) is Python 3.11 or newer with its venv module." >&2; \
	  echo "On Debian and Ubuntu the package python3-venv has the latter." >&2; \
	  exit 1; \
	fi

# An extra that holds others marks them as installed too.
.venv/.core: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing minidl into .venv"
	@$(INSTALL) --editable .
	@touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing minidl and what its tests need into .venv"
	@$(INSTALL) --editable '.[test]'
	@touch $@ .venv/.core

.venv/.gpu: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing minidl, its tests and CuPy with CUDA's libraries into .venv"
	@$(INSTALL) --editable '.[test,gpu]'
	@touch $@ .venv/.core .venv/.test

# No constraints: the system's NumPy stays where it will do, since CuPy was made for it.
.venv/gpu/.test: pyproject.toml
	@echo "Installing minidl and what its tests need into .venv/gpu, beside the system's CuPy"
	@python3 -m venv --system-site-packages .venv/gpu
	@.venv/gpu/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

.venv/.docs: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing minidl and what its documentation needs into .venv"
	@$(INSTALL) --editable '.[docs]'
	@touch $@ .venv/.core

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing minidl and the developers' tools into .venv"
	@$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/.core .venv/.test .venv/.docs
