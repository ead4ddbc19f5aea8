# sealmint: make demo, make test; the rest builds on the same set-up.
SHELL := /bin/bash
VENV := .venv
PYTHON := $(VENV)/bin/python
DEMO_HOME ?= demo-home

.PHONY: help setup demo serve test lint bench fuzz chaos hsm-shim clean

help: ## show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.complete ## install what is missing: Debian packages, and a virtual environment from the lock

$(VENV)/.complete: requirements.lock pyproject.toml deploy/setup.sh
	@deploy/setup.sh $(VENV)
	@touch $@

demo: setup ## a development CA issues to 933 real companies and answers for their status; OpenSSL judges
	@$(PYTHON) -m deploy.demo --home $(DEMO_HOME)

serve: setup ## the same, and the responders stay up until Ctrl-C
	@$(PYTHON) -m deploy.demo --home $(DEMO_HOME) --stay-up

test: setup ## every test
	@$(PYTHON) -m pytest

lint: setup ## ruff, mypy --strict, and the page of CPS coverage
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(PYTHON) -m tests.cps_coverage --check

bench: setup ## issuance against the token's raw rate; ENTITIES=20000 JSON=build/issuance.json
	@mkdir -p build
	@$(PYTHON) -m bench.issuance --entities $(or $(ENTITIES),20000) --json $(or $(JSON),build/issuance.json)

fuzz: setup ## coverage-guided fuzzing of every reader, and hostile requests to every route; SECONDS=600 REQUESTS=20000
	@$(PYTHON) -m tests.fuzz_parsers --seconds $(or $(SECONDS),600)
	@$(PYTHON) -m tests.fuzz --requests $(or $(REQUESTS),20000)

chaos: setup ## processes killed, disks full and broken, clock, token and database wrong or away; ROUNDS=200 SEED=7
	@$(PYTHON) -m tests.chaos --rounds $(or $(ROUNDS),200) $(if $(SEED),--seed $(SEED))

hsm-shim: setup ## build the pretend HSM: build/libhsm_shim.so
	@$(PYTHON) -m tests.hsm_shim build/libhsm_shim.so

clean: ## remove what was built here (the demo's home as well)
	rm -rf build $(VENV) $(DEMO_HOME) $(DEMO_HOME)-public
