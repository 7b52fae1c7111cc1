# DES from a fresh clone: Python 3.11 or newer and make are all that must be there. `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-browser test-browser-long screenshots test-system fuzz chaos fault-matrix extreme-market cuts-drill pool-soak rotation-drill budget-drill arbitrage-drill rate-limits clients-setup test-clients bench lint audit-dependencies lock

VENV ?= .venv
PYTHON := $(VENV)/bin/python
# Installs the lock file in seconds; pip takes its place where it can't be had.
UV_VERSION := 0.13.8
# Without bytecode on disk every process compiles what it imports, which triples its start.
unexport PYTHONDONTWRITEBYTECODE
PACKAGES := accounts audit connections desproject risk trading
STAMP := $(VENV)/.installed
# Checks need settings, settings need a master key and a database: made for the occasion.
KEYED = DATABASE_URL=sqlite:///:memory: MASTER_ENCRYPTION_KEY="$$($(PYTHON) manage.py generate_master_key)"

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(STAMP) ## a virtual environment in .venv with every locked dependency

$(STAMP): requirements.lock
	@sh .ci/make-venv.sh "$(VENV)"
	@if $(PYTHON) -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"; then \
	    $(PYTHON) -m uv pip install --quiet --python $(PYTHON) --require-hashes --compile-bytecode \
	        -r requirements.lock; \
	else \
	    echo "uv can't be had here: installing with pip, which takes longer"; \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	fi
	@touch $(STAMP)

demo: $(STAMP) ## everything at once: simulated exchange, two users trading, console in the browser; Ctrl-C ends it
	@$(PYTHON) manage.py demo

up: $(STAMP) ## all processes of an installation on this machine (wants MASTER_ENCRYPTION_KEY, see .env.example)
	@$(PYTHON) manage.py up

test: $(STAMP) ## the fast tests, three at a time, then test-browser (SQLite and a private Redis unless DATABASE_URL and REDIS_URL say else)
	@$(PYTHON) -m pytest -n 3 -m "not system and not clients and not browser $(AND)"
	@$(MAKE) --no-print-directory test-browser

test-browser: $(STAMP) ## the console in headless Chromium on a real installation (left out where there is no Chromium; CHROMIUM= names one)
	@$(PYTHON) -m pytest -n 0 -m browser tests/browser/test_story.py tests/browser/test_accessibility.py

test-browser-long: $(STAMP) ## all of tests/browser: also nonsense on the line, sleep, wrong clocks, two users, names that are markup
	@$(PYTHON) -m pytest -n 0 -m browser tests/browser

screenshots: $(STAMP) ## pictures of every page, phone and desktop, light and dark, in var/screenshots (SCENES= names some)
	@$(PYTHON) -m tests.browser.screenshots $(SCENES)

test-system: $(STAMP) ## the slow tests: real processes that trade, are killed, frozen and restarted
	@$(PYTHON) -m pytest -n 0 -m system --durations=12

fuzz: $(STAMP) ## many made-up requests to each operation of the API, others each time (FUZZ_EXAMPLES= how many, 200)
	@FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),200) $(PYTHON) -m pytest -n 0 -m system tests/system/schema

chaos: $(STAMP) ## tenants trade on four exchanges while everything is killed, restarted, cut and lied to (DURATION= seconds, CHAOS= other options)
	@$(PYTHON) -m tests.drills.chaos --duration $(or $(DURATION),1200) $(CHAOS)

extreme-market: $(STAMP) ## prices fall by a fifth in a minute, 50 times the messages, half of all calls unanswered (CHAOS= other options)
	@$(PYTHON) -m tests.drills.chaos.extreme $(CHAOS)

fault-matrix: $(STAMP) ## every fault of a stream at every venue, see docs/fault-matrix.md
	@FAULT_MATRIX=1 $(PYTHON) -m pytest -n 0 tests/conformance/test_fault_matrix.py

cuts-drill: $(STAMP) ## 200 sockets of all four venues are cut while orders fill; figures as JSON (CUTS= other options)
	@$(PYTHON) -m tests.drills.cuts $(CUTS)

rotation-drill: $(STAMP) ## 20,000 stored keys sealed anew while the demo trades, killed three times (DRILL= other options)
	@$(PYTHON) -m tests.drills.rotation $(DRILL)

pool-soak: $(STAMP) ## 500 connections' gateways used at random while keys are replaced and connections deleted; figures as JSON (DURATION= seconds, 600)
	@$(PYTHON) -m tests.drills.pool --duration $(or $(DURATION),600)

budget-drill: $(STAMP) ## six tenants ask all exchanges for all they can get, over three processes; figures as JSON (DURATION= seconds, 300)
	@$(PYTHON) -m tests.drills.budget --duration $(or $(DURATION),300)

arbitrage-drill: $(STAMP) ## 100 arbitrages between two simulated exchanges, many of which lose a leg; figures as JSON (DRILL_FIRES= another number)
	@DRILL_FIRES=$${DRILL_FIRES:-100} $(PYTHON) -m pytest -n 0 -q -s --timeout=0 -m system tests/drills/test_arbitrage.py 2>/dev/null

clients-setup: $(STAMP) ## the environments of the exchange clients that test-clients runs, one each in .venv-clients
	@$(PYTHON) -m tests.clients.environments

test-clients: clients-setup ## exchange clients that are none of ours against the simulated exchange
	@$(PYTHON) -m pytest -n 0 -m clients tests/clients

rate-limits: $(STAMP) ## LIM-1 in its own figures: 100 users, 100 requests each, over two web processes
	@LIMIT_USERS=100 LIMIT_REQUESTS=100 $(PYTHON) -m pytest -n 0 -m system tests/system/test_rate_limits.py

bench: $(STAMP) ## figures beside bare floors, as lines of JSON (PostgreSQL and Redis where DATABASE_URL and REDIS_URL say; BENCH= names and options)
	@$(PYTHON) -m tests.bench $(BENCH)

lint: $(STAMP) ## ruff, mypy, import contracts, bandit, migrations, deployment check
	$(PYTHON) -m ruff check .
	$(KEYED) $(PYTHON) -m mypy $(PACKAGES) tests manage.py
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON) -m bandit --quiet --severity-level medium --skip B608 --recursive $(PACKAGES) manage.py  # the low ones, and SQL in strings, are ruff's S rules: a reason beside each
	$(KEYED) $(PYTHON) manage.py makemigrations --check --dry-run
	$(KEYED) ENFORCE_SSL=1 ALLOWED_HOSTS=des.example.org $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(PYTHON) .ci/find_secrets.py

audit-dependencies: $(STAMP) ## known vulnerabilities of what is locked (asks pypi.org, so it needs the network; no part of CI)
	@$(PYTHON) .ci/audit_dependencies.py requirements.lock

lock: $(STAMP) ## resolve the dependencies of pyproject.toml anew into requirements.lock
	@$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --upgrade --group dev pyproject.toml --output-file requirements.lock
