# Verbs of this project. `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= 3
SCALE   ?= 0.02
RESULTS ?= .faults

.PHONY: demo test check bench faults clean

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

faults: $(VENV)/.test  ## every fault row, SCALE of its full count, and docs/reliability.md from what came of it
	mkdir -p $(RESULTS)
	$(BIN)/python -m tests.campaign --scale $(SCALE) > $(RESULTS)/runs.jsonl; failed=$$?; \
	$(BIN)/python -m tests.campaign.mutants > $(RESULTS)/mutants.jsonl || failed=1; \
	$(BIN)/python -m tests.campaign.table $(RESULTS)/*.jsonl > docs/reliability.md; exit $$failed

clean:
	rm -rf $(VENV) $(RESULTS) .pytest_cache .mypy_cache .ruff_cache .hypothesis
