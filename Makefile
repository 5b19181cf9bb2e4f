# Needs Python 3.11 or later, and nothing else: `make demo`, `make test`.
PYTHON ?= python3
FLEET ?= pumps
DEVICES ?=
STREAM ?=
PORT ?= 7071

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
WORKERS ?= 3
PYTEST := $(PY) -m pytest -q -p tests.left_out -n $(WORKERS)
REQUIREMENTS := requirements.txt scorer/requirements.txt requirements-dev.txt

# A third of a process's start is compiling what it imports, unless that is kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run stream setup services host kernels rules check test test-long licences bench bench-scoring mutants deploy upload-models teardown clean

wanted = command -v $(1) >/dev/null || { echo "wanted $(1) on the PATH, found none: $(2)" >&2; exit 2; }

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: PYTHON (the interpreter for $(VENV)), FLEET (of the demo: pumps or forecast), DEVICES (of it), STREAM (options of python -m local.stream), PORT (of the host), SINKS (delta: a table of all predictions too), MODELS (to upload)"

demo: kernels ## a fleet of 500 devices, the whole stack on this machine, one hour scored; FLEET=forecast: 200 regressors
	@$(PY) -m local demo --fleet $(FLEET) $(if $(DEVICES),--devices $(DEVICES)) --port $(PORT)

run: kernels ## the same, and stays up; the page is at http://127.0.0.1:7071/
	@$(PY) -m local run --fleet $(FLEET) $(if $(DEVICES),--devices $(DEVICES)) --port $(PORT)

stream: kernels ## a day of a fleet's events as files of Event Hubs Capture, each hour scored as it closes; STREAM=--iot-hub
	@$(PY) -m local.stream $(if $(DEVICES),--devices $(DEVICES)) $(STREAM)

setup: $(READY) ## the Python environment only, .venv

services: kernels ## Azurite and Dask only, for `func start` or `make host`
	@$(PY) -m local services

host: $(READY) ## the development host, beside `make services`
	@$(PY) -m local.host --port $(PORT)

kernels: $(READY) # compiled once, for all processes: half a minute where their sources have changed
	@$(PY) -c 'from scorer.kernels import dispatch; dispatch.compile_kernels()'

rules: $(READY) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

check: rules kernels ## the quick part of `make test`: ruff, mypy, and the tests that need no server
	$(PYTEST) -m "not stack"

test: rules kernels ## everything: ruff, mypy and all tests; the last lines name what was left out and how to get it
	$(PYTEST)

test-long: kernels ## all tests, with 10,000 drawn storms
	FLEETSCORE_STORMS=10000 $(PYTEST)

licences: $(READY) ## docs/licences.md, from the metadata of what is installed
	@$(PY) -m tests.packaging.licences --into docs/licences.md

bench: $(READY) ## what the control plane costs with a million models, into docs/benchmarks.md
	@$(PY) -m bench.control_plane --into docs/benchmarks.md

bench-scoring: $(READY) ## what scoring costs beside what people use today, into docs/benchmarks.md; half an hour
	@$(PY) -m pip install -qq --disable-pip-version-check -r bench/requirements.txt
	@$(PY) -m bench.scoring --into docs/benchmarks.md

mutants: $(READY) ## faults planted into a copy of the product, and which test sees each, into docs/mutants.md
	@$(PY) -m tests.mutants --into docs/mutants.md

deploy: ## everything in Azure, by azd; docs/deploy.md leads through it
	@$(call wanted,azd,https://aka.ms/azd-install)
	@$(call wanted,az,https://aka.ms/azure-cli)
	azd hooks run preprovision
	azd up

upload-models: ## a folder of models into that deployment: make upload-models MODELS=folder
	@test -d "$(MODELS)" || { echo "wanted a folder of models as MODELS=folder, found '$(MODELS)'" >&2; exit 2; }
	@$(call wanted,azd,https://aka.ms/azd-install)
	@$(call wanted,az,https://aka.ms/azure-cli)
	az storage blob upload-batch --auth-mode login --account-name "$$(azd env get-value STORAGE_ACCOUNT)" \
		--destination "$$(azd env get-value MODELS_CONTAINER)" --source "$(MODELS)" --overwrite

teardown: ## remove that deployment, with all data in it; azd asks before it does
	@$(call wanted,azd,https://aka.ms/azd-install)
	azd down

clean: ## everything that was made here, the data of Azurite too
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "wanted Python 3.11 or later, found $$($(PYTHON) --version 2>&1 || true); choose one by make PYTHON=python3.12" >&2; exit 2; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "installing the requirements into $(VENV), once; it takes a minute or two"
	@$(PY) -m pip install -qq --no-compile --disable-pip-version-check -r requirements-dev.txt
	@touch $(READY)
