# One verb each: `make quickstart`, `make test`, `make bench`. Each sets up what it needs in .venv, and is quick when it is there.
#
#   make quickstart ARGS="--out runs/mine train_seconds=60"
#   make test ARGS="tests/contract -k layout"

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

ARGS ?=
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
SYSTEM := bash .ci/system-package

.PHONY: help quickstart test bench clean

help:
	@echo "make quickstart   collect, train, evaluate and report on this machine (about 15 minutes on two CPU cores)"
	@echo "make test         import rules, ruff and every test; ARGS=\"tests/contract\" runs some of them"
	@echo "make bench        training, planning, loading and evaluation against their floors"

quickstart: .venv/ready .venv/renderer
	@$(BIN)/foreact quickstart $(ARGS)

test: .venv/ready-dev .venv/renderer .venv/browser
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/ruff check .
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

bench: .venv/ready-dev .venv/renderer
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "foreact needs Python 3.11 or newer; none was found. make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		$(SYSTEM) "virtual environments" "$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
	$(PYTHON) -m venv .venv

.venv/ready: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing foreact and its pinned packages into .venv"
	@$(PIP) --editable .
	@touch $@

.venv/ready-dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing foreact, its pinned packages and the test tools into .venv"
	@$(PIP) --editable '.[dev]'
	@$(PIP) --no-deps openpi-client==0.1.1  # a test client; its own bounds (numpy < 2) are older than it needs
	@touch $@ .venv/ready

# a GL library is believed only after something was drawn with it; without one, flat-coloured rays are drawn instead
.venv/renderer:
	@test -e .venv/ready || $(MAKE) --no-print-directory .venv/ready
	@found=$$($(BIN)/python -c 'from foreact.envs.backends import family; print(family())' || true); \
		if [ "$$found" != gl ]; then $(SYSTEM) "drawing camera images" libosmesa6; fi
	@touch $@

.venv/browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		$(SYSTEM) "the tests that open the report in a browser" chromium
	@touch $@
