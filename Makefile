# Needs Python 3.11 or newer (with venv), Go 1.26 or newer and gcc; root on Linux for the real node.
# Built programs and downloads are kept outside the checkout: $DRUMLINE_CACHE, by default ~/.cache/drumline.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.drumline-installed

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-next e2e bench chaos verify cluster-up cluster-down

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Create .venv with everything that development needs

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@

demo: $(STAMP) ## Train a real model in real pods on this machine, and survive a killed worker
	$(PY) -m e2e.demo

test: $(STAMP) ## Run all tests: unit, control plane and, as root on Linux, real node
	$(PY) -m e2e.stages test

test-next: $(STAMP) ## Run the control plane's tests on Kubernetes 1.37, which is built first
	DRUMLINE_KUBERNETES=1.37 $(PY) -m e2e.stages cluster

e2e: $(STAMP) ## Run the end-to-end suites, with a real vLLM
	$(PY) -m e2e.engines all
	$(PY) -m pytest e2e/suites -ra --durations=10

bench: $(STAMP) ## Measure the operator against a raw client, reports, the ledger's fold, admission; writes build/bench*.json
	$(PY) -m e2e.bench
	$(PY) -m e2e.bench.reports
	$(PY) -m e2e.bench.fold
	$(PY) -m e2e.bench.admission_churn --jobs 1000 --queues 20

chaos: $(STAMP) ## Strike the operator by the seed: 5,000 against a model of the API server, 20 on a real control plane
	$(PY) -m e2e.chaos --model
	$(PY) -m e2e.chaos

verify: $(STAMP) ## Check style, types, layers, generated files and examples
	$(PY) -m e2e.stages verify

cluster-up: $(STAMP) ## Start a cluster in the background; OPTIONS="--real-node --nodes '4 hosts of h100'"
	$(PY) -m e2e.cluster up $(OPTIONS)

cluster-down: $(STAMP) ## End the cluster that cluster-up started
	$(PY) -m e2e.cluster down
