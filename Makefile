# leanboard: reproduce the board with `make bench`. `make help` lists every target.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q

.PHONY: help setup bench test lint types site serve export plan doctor clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the virtual environment, with the CPU build of torch where there is no NVIDIA driver

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	bash docs/install-torch.sh $(BIN)/python
	$(PIP) -c constraints.txt -e '.[bench,dev]'
	touch $@

bench: setup ## Run the quickstart suite on a real model and build the site
	$(BIN)/leanboard run suite=quickstart
	$(BIN)/leanboard site

test: setup ## Run the tests
	$(BIN)/python -m pytest

