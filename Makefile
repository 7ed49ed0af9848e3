# `make test` and `make demo` need only Python >= 3.10, git and make: they create .venv and keep it up to date.
# Variables: PYTHON (which interpreter), VENV (where the environment goes), ARGS (more arguments for pytest), OUT.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python py; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV ?= .venv
OUT ?= demo
ARGS ?=
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/installed

# constraints.txt also holds for the packages that build the wheel: PIP_CONSTRAINT in older pips, the other in newer
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help test demo lint format wheel clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

test: $(STAMP) ## run all tests (ARGS="-k camera" to choose some)
	"$(BIN)/python" -m pytest $(ARGS)

demo: $(STAMP) ## photographs of an invented scene to a trained splat, a report and a video, in a few minutes
	"$(BIN)/sfumato" demo -o "$(OUT)" --force

lint: $(STAMP) ## ruff (lint, format) and mypy
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m ruff format --check .
	"$(BIN)/python" -m mypy

format: $(STAMP) ## let ruff repair what it can
	"$(BIN)/python" -m ruff check --fix .
	"$(BIN)/python" -m ruff format .

wheel: $(STAMP) ## build dist/sfumato-*.whl
	"$(BIN)/python" -m pip wheel . --no-deps --wheel-dir dist

clean: ## remove the environment and everything built
	rm -rf "$(VENV)" dist build .pytest_cache .mypy_cache .ruff_cache

# The environment, made again whenever what it should hold has changed. `make` has no quoting for names of targets:
# VENV itself must be free of spaces; the folder of the checkout may have them.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "sfumato needs Python 3.10 or newer: install it, or say PYTHON=/path/to/python"; exit 2; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --upgrade pip
	"$(BIN)/python" -m pip install --quiet -c constraints.txt -e '.[dev]'
	@"$(BIN)/python" -c 'import pathlib, sys; pathlib.Path(sys.argv[1]).touch()' "$@"
