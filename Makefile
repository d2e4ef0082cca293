# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, make and a network.
# Another Python than the first that fits: make setup PYTHON=/path/to/python3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What `check` tests: the rooms that need no control plane.
QUICK := $(wildcard tests/domain tests/wire tests/trust tests/durable tests/bundle tests/repository)
BENCHES := $(sort $(patsubst benchmarks/%.py,bench-%,$(wildcard benchmarks/[a-z]*.py)))

.PHONY: help setup demo test check lint crash bench docs lock

help: ## Print this list
	@awk -F ':.*## ' '/^[a-zA-Z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything that is needed, from the locks

demo: $(READY) ## See it all happen: a control plane, 8 devices, a bad model put back
	$(BIN)/kernex demo --once

test: lint ## Everything: style, types, walls between rooms, all tests
	-scripts/system-packages
	$(BIN)/python -m pytest

check: lint ## The quick part of test, for while you work
	$(BIN)/python -m pytest -q $(QUICK)

lint: $(READY) ## Style, types and the walls between rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

crash: $(READY) ## Strike an installing agent everywhere: kills, power cuts, full disks; 30 minutes
	-scripts/system-packages
	$(BIN)/python -m tests.crash
	$(BIN)/python -m tests.sandbox

bench: $(BENCHES) ## Measure everything; figures also go to build/bench/NAME.json

bench-%: $(READY) ## Measure one part: agent, heartbeat
	$(BIN)/python benchmarks/$*.py

fuzz: $(READY) ## Feed the readers of archives and manifests with 60 s of broken bytes
	$(BIN)/python -m tests.fuzz

docs: $(READY) ## Write the pages that follow from the code: state diagrams, glossary
	$(BIN)/python scripts/write_docs.py

lock: $(READY) ## Resolve the requirements anew, after a change of pyproject.toml
	$(COMPILE) --output-file requirements/base.txt
	$(COMPILE) --extra server --output-file requirements/server.txt
	$(COMPILE) --extra server --extra demo --group dev --output-file requirements/dev.txt

# No header, index or annotation lines: a lock says what and which bytes, never where from.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml

# Once, or anew when its Python is gone. For another Python: rm -r .venv
.PHONY: anew
anew:
$(VENV)/pyvenv.cfg: $(shell test -x $(BIN)/python || echo anew)
	PYTHON='$(PYTHON)' scripts/make-venv $(VENV)

# Again when the locks change. The dependencies come first and by hash; Kernex itself is linked.
$(READY): requirements/dev.txt pyproject.toml $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
