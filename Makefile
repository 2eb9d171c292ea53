# Every target does its own set-up: .venv with the pinned wheels, made once and again only when a pin changes.
PYTHON  ?= python3.11
PROFILE ?= laptop
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready

.PHONY: reproduce test lab clean

reproduce: $(READY)
	$(BIN)/lart-mini reproduce --profile $(PROFILE)

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests
	$(BIN)/pytest -p no:python --nbval --nbval-current-env --nbval-cell-timeout=300 \
	    --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

clean:
	rm -rf runs build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@
