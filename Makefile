# Every target does its own set-up: .venv with the pinned wheels, made once and again only when a pin changes.
# The first of these that is Python 3.11 or newer, and can make a venv:
PYTHONS := python3.11 python3 python3.12 python3.13 python3.14 python
PYTHON  ?= $(shell for p in $(PYTHONS); do \
    $$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PROFILE ?= laptop
# Kernels and child processes would compile the package anew, each of them.
unexport PYTHONDONTWRITEBYTECODE
VENV    := .venv
BIN     := $(VENV)/bin
# The test files by their first letters: about as long, each.
PARTS   := part-n part-c part-[d-i] part-[abj-m] part-[o-r] part-[s-z]
READY   := $(VENV)/.ready
# trackeval brings opencv-python, which asks for libGL; its files stand in the same folder, and the last one counts.
HEADLESS := --force-reinstall --no-deps opencv-python-headless

.PHONY: reproduce course test check units nbval fuzz lab clean $(PARTS)

reproduce: $(READY)
	$(BIN)/lart-mini reproduce --profile $(PROFILE)

# ./course: the notebooks for students, for instructors, and for nbgrader.
course: $(READY)
	$(BIN)/lart-mini course

# One thread each: two things run at a time, and models this small only lose by threads that wait for each other.
nbval units $(PARTS): export OMP_NUM_THREADS := 1

# Two things at a time, the longest first. `make units` runs all files in one process.
test: check
	$(MAKE) -k -j2 nbval $(PARTS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

units: $(READY)
	$(BIN)/pytest tests

$(PARTS): part-%: $(READY)
	$(BIN)/pytest $(wildcard tests/test_$*[a-z]*.py)

# The limits tell a hang, never a slow machine.
nbval: $(READY)
	$(BIN)/pytest -p no:python --nbval --nbval-current-env --nbval-cell-timeout=7200 \
	    --nbval-kernel-startup-timeout=600 --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

# 10,000 hostile files and command lines, each in a child of its own; `make units` runs 300.
fuzz: $(READY)
	$(BIN)/python tests/fuzz

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

clean:
	rm -rf runs build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "lart_mini: Python 3.11 or newer with venv: found none of $(PYTHONS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(HEADLESS)
	mkdir -p $(VENV)/share/jupyter/lab/settings
	echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
	    > $(VENV)/share/jupyter/lab/settings/overrides.json
	touch $@
