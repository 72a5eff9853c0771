# Postroom: `make run` and `make test` do everything on a machine with Python 3.11 or newer, and make.

PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3.14 python3; do command -v $$each && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
USABLE := $(VENV)/.usable
STAMP  := $(VENV)/.installed
PEERS  := $(VENV)/.peers-installed
FUZZER := $(VENV)/.fuzzer-installed
EXAMPLES := $(VENV)/.examples-installed
PORT     ?= 8000
API_PORT ?= 8001
PAGE_PORT ?= 8080
SEEDS    ?= 10000
MINUTES  ?= 30
SECONDS  ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup run example test lint types docs packages bench bench-docs torture simulate soak fuzz screenshots clean

help:
	@echo "make run    set up, start the router with its demo sessions, show where to look"
	@echo "make example  list the examples that run with one command (NAME=chat runs one)"
	@echo "make test   set up, check style and types, run every test"
	@echo "make lint   check style        make types  check types"
	@echo "make packages  build wheels, source distributions and the npm package into dist, install them and try them"
	@echo "make docs   build the documentation as a site, in site/"
	@echo "make bench  measure (NAME=fanout for one)"
	@echo "make bench-docs  write what was measured last into the documentation"
	@echo "make torture  kill routers and NATS under load, fill disks, cut the power (minutes): nothing acknowledged may be lost"
	@echo "make simulate  live through SEEDS=$(SEEDS) simulated histories, each with faults of its own"
	@echo "make soak   half an hour of churn, chaos and slow clients: nothing may grow or be left over (MINUTES=5 for less)"
	@echo "make fuzz   try mutated input on every decoder, a connection and a socket (SECONDS=60 each, NAME=frames for one)"
	@echo "make screenshots  take the documentation's pictures of the console, in Chromium (two minutes)"
	@echo "make clean  remove the environment and caches"

# What it takes to run: a fifth of what it takes to test.
setup: $(USABLE)

$(USABLE): setup.cfg pyproject.toml clients/python/pyproject.toml
	@test -n "$(PYTHON)" && command -v "$(PYTHON)" >/dev/null || \
	  { echo "There is no Python here$(if $(PYTHON), by the name of $(PYTHON)). Postroom needs 3.11 or newer: install it, or name yours: make run PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c '' || \
	  { echo "$(PYTHON) does not run here. Postroom needs Python 3.11 or newer: name yours: make run PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$("$(PYTHON)" -V), and Postroom needs 3.11 or newer: install it, or name yours: make run PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make environments: its module venv is not there. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) with $$("$(PYTHON)" -V); this downloads packages, once."
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) -e clients/python -e '.[workers]' || \
	  { echo "The packages could not be installed; pip says why above. Is there a network? Then try again: make setup"; exit 1; }
	@touch $@

$(STAMP): $(USABLE)
	@echo "Installing what tests need into $(VENV), once."
	@$(PIP) -e clients/python -e '.[test]' || \
	  { echo "The packages could not be installed; pip says why above. Is there a network? Then try again: make test"; exit 1; }
	@touch $@

run: setup
	@$(BIN)/postroom demo --port $(PORT) --api-port $(API_PORT) || \
	  { code=$$?; echo "make: ports are chosen like this: make run PORT=9000 API_PORT=9001"; exit $$code; }

# The ports are for an example with a page; without a name there is nothing to set up.
example: $(if $(NAME),$(EXAMPLES))
ifdef NAME
	$(BIN)/python -m examples $(NAME) --port $(PORT) --api-port $(API_PORT) --page-port $(PAGE_PORT)
else
	@$(PYTHON) -m examples
endif

$(EXAMPLES): $(USABLE)
	$(PIP) -e clients/python -e '.[examples]'
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest -m "not alone" -n 2 --dist loadfile
	$(BIN)/pytest -m alone

packages: $(STAMP)
	@command -v npm >/dev/null || { echo "npm packs the JavaScript client, and it is not on the PATH: install Node 20 or newer, with npm"; exit 1; }
	rm -rf dist
	$(BIN)/python -m build --installer uv --outdir dist clients/python
	$(BIN)/python -m build --installer uv --outdir dist .
	npm pack ./clients/javascript --pack-destination dist
	PACKAGES=dist $(BIN)/pytest -q tests/packages
	@ls dist

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "The documentation is in site/: open site/index.html. With its search: python3 -m http.server 8010 -d site -b 127.0.0.1"

bench: $(PEERS)
	$(BIN)/python -m benchmarks $(NAME)

bench-docs: $(PEERS)
	$(BIN)/python -m benchmarks.docs

$(PEERS): $(STAMP)
	$(PIP) -e clients/python -e '.[bench]'
	@touch $@

torture: $(STAMP)
	$(BIN)/python -m tests.torture
	$(BIN)/python -m tests.torture --disk-full --kills 0 --seconds 30
	$(BIN)/python -m tests.torture --disk-full --kills 5 --seconds 30
	$(BIN)/python -m tests.torture.power --cuts 1000
	$(BIN)/python -m tests.torture --cluster
	$(BIN)/python -m tests.torture --cluster --history 50

simulate: $(STAMP)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

soak: $(STAMP)
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

fuzz: $(FUZZER)
	$(BIN)/python -m tests.fuzz $(NAME) --seconds $(SECONDS)

$(FUZZER): $(STAMP)
	$(PIP) -e clients/python -e '.[fuzz]'
	@touch $@

screenshots: $(STAMP)
	$(BIN)/python -m tests.integration.screenshots

clean:
	rm -rf $(VENV) site build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis fuzz-data benchmarks/peers/node_modules tests/clients/javascript/node_modules
