# Every target works as the first command ever typed: what it needs, it installs.
.DEFAULT_GOAL := help
.PHONY: help install install-cli run demo test check clients lint fix lock faults soak attack key bench pictures clean

PYTHON ?= python3
VENV ?= .venv
NAME ?= me
MINUTES ?= 10
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-warn-conflicts
# A dot for each package, so that a slow network is seen to work; what is wrong is said whole.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
DOTS := awk '/^(Collecting|Downloading|Installing)/ {printf "."; fflush()} \
	/^(ERROR|error|WARNING: Retrying)/ {print} END {print ""}'
STAMPS := $(VENV)/.stamps
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

help: ## Show what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMPS)/requirements ## Make the virtualenv and install what the server needs

install-cli: $(STAMPS)/requirements ## Install the claude CLI into the virtualenv, unless there is one
	@command -v "$${CLAUDE_CLI_PATH:-claude}" >/dev/null 2>&1 \
	|| test -x "$$($(BIN)/python -c 'from cowork.claude.executable import bundled; print(bundled() or "")')" \
	|| { echo "installing the claude CLI (about 100 MB, once) ..."; \
	     $(PIP) --no-deps --require-hashes -r requirements-cli.txt 2>&1 | $(DOTS); }

run: install-cli ## Run the server: gunicorn with the gevent worker
	@exec $(BIN)/python -m cowork serve

demo: install-cli ## Run the server on the demo model (no account needed) and ask it a question
	@exec $(BIN)/python -m cowork demo

test: $(STAMPS)/requirements-dev $(STAMPS)/node_modules $(STAMPS)/sdks install-cli ## Run the test suite, plain and patched by gevent, in parts side by side
	@exec $(BIN)/python -m tests $(PARTS)

check: lint test ## Everything CI runs: lint, types, layers, tests

clients: $(STAMPS)/requirements-dev $(STAMPS)/sdks $(STAMPS)/litellm install-cli ## Try the libraries of other APIs, each set of versions in an environment of its own
	$(BIN)/python -m pytest tests/e2e/test_other_apis_clients.py

lint: $(STAMPS)/requirements-dev ## Check style, types and layers, and that nothing is unused
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/vulture

fix: $(STAMPS)/requirements-dev ## Format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMPS)/requirements-dev ## Pin the newest versions of all requirements, with hashes
	$(COMPILE) --upgrade -o requirements.txt requirements.in
	$(COMPILE) --upgrade -o requirements-dev.txt requirements-dev.in
	$(COMPILE) --upgrade -o - requirements-cli.in \
	| awk '/^[a-z]/ {kept = /^claude-agent-sdk==/} kept' > requirements-cli.txt
	for set in sdks litellm; do $(COMPILE) --upgrade -o tests/clients/$$set/requirements.txt \
		tests/clients/$$set/requirements.in; done

faults: $(STAMPS)/requirements-dev install-cli ## Run the whole loop of faults and print its report (minutes)
	$(BIN)/python -m tests.faults

soak: $(STAMPS)/requirements-dev install-cli ## Load a server for ten minutes; it must hold no more afterwards (make soak MINUTES=1)
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

attack: $(STAMPS)/requirements-dev ## Take the attacker's tour of a running server and print its report (minutes)
	$(BIN)/python -m tests.attack

key: ## Print a new API key for a file of keys: make key NAME=web >> keys
	@$(PYTHON) -m cowork key $(NAME)

bench: install-cli ## Measure the server against the bare CLI and its promises (minutes)
	@$(BIN)/python -m bench $(SUITES)

pictures: $(STAMPS)/requirements-dev $(STAMPS)/node_modules install-cli ## Take the documents' pictures of the console anew
	@$(BIN)/python -m tests.console.pictures

clean: ## Remove what the targets above have made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is \
	needed, $(PYTHON) is %d.%d: PYTHON=python3.12 make ..." % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)

$(STAMPS)/requirements: requirements.txt | $(BIN)/python
	@echo "installing what the server needs, about 40 packages ..."
	@$(PIP) --require-hashes -r requirements.txt 2>&1 | $(DOTS)
	@mkdir -p $(STAMPS) && touch $@

# Other people's clients in JavaScript; without npm their tests are skipped.
$(STAMPS)/node_modules: tests/clients/package-lock.json | $(BIN)/python
	@if command -v npm >/dev/null; then npm ci --loglevel=error --no-audit --no-fund --prefix tests/clients; fi
	@mkdir -p $(STAMPS) && touch $@

# Other APIs' libraries want versions of their own of what they have in common.
$(STAMPS)/sdks $(STAMPS)/litellm: $(STAMPS)/%: tests/clients/%/requirements.txt | $(BIN)/python
	@echo "installing other APIs' clients ($*) ..."
	@$(PYTHON) -m venv tests/clients/$*/.venv
	@tests/clients/$*/.venv/bin/python -m pip --disable-pip-version-check install \
		--require-hashes -r tests/clients/$*/requirements.txt 2>&1 | $(DOTS)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/requirements-dev: requirements-dev.txt $(STAMPS)/requirements
	@echo "installing what its tests need, about 70 packages ..."
	@$(PIP) --require-hashes -r requirements-dev.txt 2>&1 | $(DOTS)
	@mkdir -p $(STAMPS) && touch $@
