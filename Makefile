# Two commands for a fresh machine: `make quickstart` and `make test`. Both make .venv where it is missing.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test test-long check format clean

quickstart: .venv/quickstart-installed
	$(BIN)/layerlink quickstart

test: .venv/dev-installed check
	$(BIN)/python -m pytest

test-long: .venv/dev-installed
	$(BIN)/python -m pytest -m "long or hypothesis" --hypothesis-profile long --least-cases 20000 --timeout 1800

check: .venv/dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The stamps are rewritten where what is to be installed has changed.
.venv/quickstart-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[digits,page]'
	touch $@

.venv/dev-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/quickstart-installed

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "layerlink needs Python 3.10 or newer; make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
