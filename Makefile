# Two commands for a fresh machine: `make quickstart` and `make test`. Both make .venv where it is missing.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test test-long test-lowest check site format coverage mutation audit clean

quickstart: .venv/quickstart-installed
	$(BIN)/layerlink quickstart

# Side by side, one thread each: most tests wait for processes of their own.
test: .venv/dev-installed check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-long: .venv/dev-installed
	$(BIN)/python -m pytest -m "long or hypothesis" --hypothesis-profile long --least-cases 20000 --timeout 1800

# The oldest versions that pyproject.toml allows, for the oldest Python: make test-lowest PYTHON=python3.10. Some 6 GB,
# for that torch comes with CUDA. What old packages say of packages newer than they are is no fault here.
test-lowest: .venv-lowest/installed
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest --numprocesses auto --dist worksteal --timeout 900 \
		-W default::DeprecationWarning -W default::FutureWarning -W default::PendingDeprecationWarning

check: .venv/dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The documentation, with search: http://127.0.0.1:8000
site: .venv/dev-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

format: .venv/dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: .venv/dev-installed
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

# Goes on where it was stopped; --again tries those that survived, --jobs 2 two at a time: make mutation FLAGS=--again
mutation: .venv/mutation-installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mutation.py $(FLAGS)

# Where packages come from a mirror, pip-audit finds none of them, and ends as if all were well: that is no audit.
audit: .venv/audit-installed
	@said=$$($(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off 2>&1); code=$$?; \
	case "$$said" in \
	*"Found "[0-9]*) printf '%s\n' "$$said" ;; \
	*"could not be audited"* | *Error*) code=3; \
		echo "audit: not done: $$(printf '%s\n' "$$said" | grep -m1 -e 'could not be audited' -e 'Error' | tr -s ' ' | cut -c1-200)" ;; \
	*) printf '%s\n' "$$said" ;; esac; exit $$code

# The stamps are rewritten where what is to be installed has changed.
.venv/quickstart-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[digits,page]'
	touch $@

.venv/dev-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/quickstart-installed

.venv/mutation-installed: .venv/dev-installed
	$(PIP) --editable '.[dev,mutation]'
	touch $@

.venv/audit-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[audit]'
	touch $@

.venv-lowest/installed: pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		--editable '.[all,hub,onnx,shrink,slurm,text,transformers]'
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python \
		pytest pytest-timeout pytest-xdist hypothesis playwright
	touch $@

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "layerlink needs Python 3.10 or newer; make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .venv-lowest build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage mutants
