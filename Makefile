# What a stranger would guess: make run, make test. A fresh machine has python3, make and apt.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
SUDO   := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
# Three of them wait for the clock at first, the others compute (tests/conftest.py).
WORKERS ?= 5

# What is compiled is kept: tests start many daemons, each in two thirds of the time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run demo test lint bench soak dashboards docs install clean venv

run demo: $(VENV)/.demo
	$(BIN)/sipwatch demo

test: $(VENV)/.test
	$(BIN)/python -m tests.servers.fetch
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python -m tests.servers.fetch sipp sipsak
	$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.test
	$(BIN)/python -m tests.servers.fetch
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

dashboards: $(VENV)/.test
	$(BIN)/python -m configs.grafana

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo build/site/index.html

install:
	systemd/install.sh

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Debian splits ensurepip off python3: fetch it where it is missing.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); $(SUDO) apt-get update && \
	  $(SUDO) apt-get install -y --no-install-recommends python3-venv && $(PYTHON) -m venv $(VENV); }

venv: $(VENV)/.test

$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.docs: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,test,dev,docs]'
	touch $@ $(VENV)/.demo $(VENV)/.docs
