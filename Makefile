# Needs make and any Python >= 3.11; everything else is put into .venv.

IS_NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c '$(IS_NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$name"; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := .venv/.ready
LAB_READY := .venv/.lab

define NEW_VENV
	@if ! $(BIN)/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
		if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(IS_NEW_ENOUGH)'; then \
			echo 'No Python >= 3.11 with venv was found; install one, or name it: make test PYTHON=/path/to/python3' >&2; \
			exit 1; \
		fi; \
		echo "making .venv with $$("$(PYTHON)" --version)"; \
		"$(PYTHON)" -m venv --clear .venv || exit 1; \
	fi
endef

.PHONY: help lab venv lint check test bench soak notebooks clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

venv: $(READY)  ## make .venv and install into it (again when pyproject.toml changed)

$(READY): pyproject.toml
	$(NEW_VENV)
	@echo 'installing durable_nb and its test extras into .venv'
	@$(PIP) install -qq -e '.[test]'
	@touch $(READY)

$(LAB_READY): pyproject.toml
	$(NEW_VENV)
	@echo 'installing durable_nb and JupyterLab into .venv'
	@$(PIP) install -qq -e '.[notebook]'
	@touch $(LAB_READY)

lab: $(LAB_READY)  ## open JupyterLab on the tour; options for it: LAB='--no-browser --port 9999'
	@$(BIN)/jupyter trust notebooks/*.ipynb >/dev/null
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab notebooks/00_tour.ipynb $(LAB)

lint: $(READY)  ## format, style, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint  ## lint and the fast tests, under a minute
	@$(BIN)/python -m pytest -m 'not slow' -q

test: $(READY)  ## every test
	@$(BIN)/python -m pytest

bench: $(READY)  ## the speed table; PEERS=1 measures DBOS, duroxide and Kishu beside it
	@$(BIN)/python -m tests.bench $(BENCH)

soak: $(READY)  ## kill workers at random for a minute, then check every promise; more with SOAK='--seconds 600 --seed 7'
	@$(BIN)/python -m tests.scenarios.soak --seconds 60 --processes 3 $(SOAK)

notebooks: $(READY)  ## run the notebooks and write what they show into them; one of them: NOTEBOOKS=00_tour
	@$(BIN)/python -m tests.notebooks.write $(NOTEBOOKS)

clean:  ## remove .venv, caches and build results
	@rm -rf .venv .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
