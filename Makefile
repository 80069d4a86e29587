# Each target makes its own .venv on first use. Needed beforehand: Python 3.11 to 3.13, gcc, make, git.
# `make test PYTHON=python3.12 VENV=.cache/3.12` uses another interpreter in another place.

supported = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(supported)' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
PYTEST_ARGS ?= --numprocesses=auto --maxprocesses=8 --dist=worksteal

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed

# durable-rules is installed from source and calls a function that Python 3.13 took away: it would still build, but
# not import. Its setup.py overwrites CFLAGS, so the replacement is named in CPPFLAGS.
export CPPFLAGS := $(CPPFLAGS) -DPyEval_CallObject=PyObject_CallObject
# A cache of our own: pip would reuse a durable-rules that somebody once built without the line above.
# It also keeps everything that make installs inside this folder.
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip

.DEFAULT_GOAL := help
.PHONY: help demo test torture check format bench clean

help:  ## say what can be made
	@sed -n 's/^\([a-z]*\):.*  ## /make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(DEV)  ## a two-minute tour: a policy, some requests, some answers
	@$(BIN)/recovery demo --html what-if-demo.html

test: $(DEV)  ## all tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

torture: $(DEV)  ## the tests of the log with large counts; writes docs/TESTING.md
	@$(BIN)/python tests/torture.py $(or $(SCALE),20) $(SEED)

check: $(DEV)  ## lint, format and types; changes nothing
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

format: $(DEV)  ## put the code into the house's format
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

bench: $(BENCH)  ## how fast, measured beside other rule engines
	@$(BIN)/python -m benchmarks

clean:  ## remove what make has made
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist what-if-demo.html

$(DEV): pyproject.toml
	@$(if $(PYTHON),,$(error no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=/path/to/python3.12))
	@{ $(BIN)/python -c '$(supported)' && $(BIN)/python -m pip --version; } >/dev/null 2>&1 \
		|| { $(PYTHON) -c '$(supported)' && $(PYTHON) -m venv --clear $(VENV); } \
		|| { echo 'cannot make $(VENV) with $(PYTHON): it must be Python 3.11, 3.12 or 3.13, with venv' >&2; exit 1; }
	@echo 'installing into $(VENV), once'
	@$(PIP) install --editable '.[dev]'
	@$(BIN)/python -c 'import durable_rules_engine' 2>/dev/null || \
		$(PIP) install --no-cache-dir --no-binary=durable-rules --no-deps --force-reinstall durable-rules==2.0.28
	@touch $@

# Peer by peer and as built wheels only: one that has none for this machine is left out, and the rest still compared.
peers = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"])
$(BENCH): $(DEV)
	@for peer in $$($(BIN)/python -c '$(peers)'); do \
		$(PIP) install --only-binary=:all: "$$peer" || echo "$$peer cannot be installed here: left out"; done
	@touch $@
