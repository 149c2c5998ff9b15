# One .venv in this checkout holds all of the Python, development tools too. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test soak lint packages lock clean

PYTHON ?= python3
BIN := .venv/bin
WORKERS := --numprocesses 2 --dist loadscope  # real processes one after the other; what needs no addresses beside them
INSTALLED := .venv/.installed
PIP := -m pip --disable-pip-version-check --no-input --quiet --quiet

help:
	@echo "make demo      two sites of three servers on this machine: apply, change, lose a site, catch up"
	@echo "make test      everything that must pass; as root nothing is left out"
	@echo "make soak      what takes long: SOAK=\"SUITE SECONDS\"; without it, names the suites"
	@echo "make lint      the static checks alone: ruff, mypy, lint-imports"
	@echo "make packages  as root: the Debian packages of packages.txt, where missing"
	@echo "make lock      resolve pyproject.toml anew into requirements.lock"
	@echo "make clean     remove what make made, .venv too"

demo: $(INSTALLED)
	@$(BIN)/tiercast demo

# The tests run even where a static check fails: one run shows everything that is wrong.
test: packages $(INSTALLED)
	@checks=0; $(MAKE) --no-print-directory lint || checks=1; \
	$(BIN)/pytest --continue-on-collection-errors $(WORKERS) || exit 1; \
	[ $$checks = 0 ] || { echo "the tests pass, a static check above does not" >&2; exit 1; }

# Gone on with where it was interrupted; appends what it ran to docs/soak.md.
soak: $(INSTALLED)
	@$(BIN)/python -m tests.soak $(SOAK)

lint: $(INSTALLED)
	@failed=0; \
	for check in "ruff check" "ruff format --check" "mypy" "lint-imports"; do \
	  TIMEFORMAT="$$(printf '%-22s' "$$check") %1R s"; \
	  time $(BIN)/$$check || failed=1; \
	done; exit $$failed

# Installed without dependency resolution, then checked: nothing that the lock does not name can enter.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tiercast needs Python 3.11 or newer (got $$($(PYTHON) --version 2>&1)); name another: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing what requirements.lock names into .venv (once, about half a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) install --no-deps --only-binary :all: "$$(grep '^setuptools==' requirements.lock)"
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation -r requirements.lock
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip --disable-pip-version-check check
	@touch $@

packages:
	@if [ "$$(id -u)" != 0 ]; then \
	  echo "not root: Debian packages are not installed, tests marked root are skipped by name"; exit 0; fi; \
	if ! command -v dpkg-query apt-get >/dev/null; then \
	  echo "not Debian: install what packages.txt names by your own means"; exit 0; fi; \
	missing=(); \
	for package in $$(sed 's/#.*//' packages.txt); do \
	  dpkg-query --show --showformat '$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$$package"); \
	done; \
	if [ $${#missing[@]} != 0 ]; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends "$${missing[@]}"; fi

# From an empty environment, so that nothing is in the lock that pyproject.toml does not ask for.
lock:
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python $(PIP) install --only-binary :all: --no-binary etcd3,pysyncobj '.[dev,speed]'
	@{ echo "# Every Python package, pinned. Made by \`make lock\` from pyproject.toml; not edited by hand."; \
	  echo "--only-binary :all:"; \
	  echo "--no-binary etcd3,pysyncobj"; \
	  build/lock/bin/python -m pip freeze --all --exclude pip --exclude tiercast; } > build/lock/requirements
	@mv build/lock/requirements requirements.lock && rm -rf build/lock
	@grep -c == requirements.lock | sed 's/$$/ packages pinned in requirements.lock/'

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find coordinator nodeagent bench tests -name __pycache__ -prune -exec rm -rf {} +
