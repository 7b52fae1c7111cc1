# DES from a fresh clone: Python 3.11 or newer and make are all that must be there. `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-system clients-setup test-clients lint lock

VENV ?= .venv
PYTHON := $(VENV)/bin/python
# Installs the lock file in seconds; pip takes its place where it can't be had.
UV_VERSION := 0.13.8
PACKAGES := accounts audit connections desproject risk trading
STAMP := $(VENV)/.installed
# Checks need settings, settings need a master key and a database: made for the occasion.
KEYED = DATABASE_URL=sqlite:///:memory: MASTER_ENCRYPTION_KEY="$$($(PYTHON) manage.py generate_master_key)"

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(STAMP) ## a virtual environment in .venv with every locked dependency

$(STAMP): requirements.lock
	@sh .ci/make-venv.sh "$(VENV)"
	@if $(PYTHON) -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"; then \
	    $(PYTHON) -m uv pip install --quiet --python $(PYTHON) --require-hashes -r requirements.lock; \
	else \
	    echo "uv can't be had here: installing with pip, which takes longer"; \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	fi
	@touch $(STAMP)

demo: $(STAMP) ## everything at once: simulated exchange, two users trading, console in the browser; Ctrl-C ends it
	@$(PYTHON) manage.py demo

up: $(STAMP) ## all processes of an installation on this machine (wants MASTER_ENCRYPTION_KEY, see .env.example)
	@$(PYTHON) manage.py up

test: $(STAMP) ## the fast tests, two at a time (SQLite and a private Redis unless DATABASE_URL and REDIS_URL say else)
	@$(PYTHON) -m pytest -n 2 -m "not system and not clients"

test-system: $(STAMP) ## the slow tests: real processes that trade, are killed, frozen and restarted
	@$(PYTHON) -m pytest -n 0 -m system

clients-setup: $(STAMP) ## the environments of the exchange clients that test-clients runs, one each in .venv-clients
	@$(PYTHON) -m tests.clients.environments

test-clients: clients-setup ## exchange clients that are none of ours against the simulated exchange
	@$(PYTHON) -m pytest -n 0 -m clients tests/clients

lint: $(STAMP) ## ruff, mypy, import contracts, bandit, migrations, deployment check
	$(PYTHON) -m ruff check .
	$(KEYED) $(PYTHON) -m mypy $(PACKAGES) tests manage.py
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON) -m bandit --quiet --severity-level medium --recursive $(PACKAGES) manage.py  # the low ones are ruff's S rules
	$(KEYED) $(PYTHON) manage.py makemigrations --check --dry-run
	$(KEYED) ENFORCE_SSL=1 ALLOWED_HOSTS=des.example.org $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(PYTHON) .ci/find_secrets.py

lock: $(STAMP) ## resolve the dependencies of pyproject.toml anew into requirements.lock
	@$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --upgrade --group dev pyproject.toml --output-file requirements.lock
