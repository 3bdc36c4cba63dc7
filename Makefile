# Verbs of this project. `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test check bench clean

$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[local]'
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

demo: $(VENV)/.core  ## two throw-away servers, 200,000 keys, copy, verify
	$(BIN)/transfer demo

test: $(VENV)/.test  ## everything
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.test  ## what must hold before a commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

bench: $(VENV)/.test  ## one million keys, beside the peers, on throw-away servers
	$(BIN)/python benchmarks/bench_copy.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
