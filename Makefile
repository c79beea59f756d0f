# The one front door: demo, test, test-all, bench, lint. Each is the same here and in continuous integration.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

.PHONY: help demo test test-all bench lint clean
help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed 's/:.*##/:/'

$(BIN)/acesim: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(BIN)/acesim
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

demo: $(BIN)/acesim  ## install into .venv and run the comparison of the four policies
	$(BIN)/acesim run scenarios/quickstart.yaml

lint: $(VENV)/.test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint  ## the whole test suite
	$(BIN)/python -m pytest

test-all: lint  ## the suite and everything marked slow
	$(BIN)/python -m pytest -m ""

BENCH_PYTHON ?= $(BIN)/python
bench: $(if $(filter $(BIN)/python,$(BENCH_PYTHON)),$(VENV)/.test)  ## the benchmarks; writes benchmarks/results.md; BENCH_PYTHON=... with PyTorch, JAX
	$(BENCH_PYTHON) -m benchmarks

clean:           ## remove the environment and what was computed
	rm -rf $(VENV) results build *.egg-info
