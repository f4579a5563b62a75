# leanboard: reproduce the board with `make bench`. `make help` lists every target.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that share the tests. Waiting threads of one must not take the cores of another.
TESTERS ?= 2
PARTS := metrics results runners suites leaderboard

.DEFAULT_GOAL := help
.PHONY: help setup bench benchmarks reproduce test lint types site serve export doctor plan lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the virtual environment (the CPU build of torch where there is no NVIDIA driver)

$(STAMP): pyproject.toml constraints.txt .ci/setup.sh
	@bash .ci/setup.sh "$(PYTHON)" $(VENV)
	@touch $@

bench: setup ## Run the quickstart suite on a real model, then build the site
	@# With status 1 some arm may have failed, which is a row of the board too.
	@status=0; $(BIN)/leanboard run suite=quickstart || status=$$?; \
	  [ $$status -gt 1 ] || $(BIN)/leanboard site || status=1; exit $$status

reproduce: setup ## Run a small sample of the published records again and judge them
	$(BIN)/leanboard reproduce --sample 2

benchmarks: setup ## Test the benchmark itself and the site, on a quiet machine (four hours)
	@status=0; for name in overhead noise twice harness_table harness_speed \
	  site_scale "site_scale --timed" "site_scale --records 100000" site_quality; do \
	  $(BIN)/python -m benchmarks.$$name || status=1; \
	done; exit $$status

test: setup ## Run every test, with a real model and a real browser
	@bash .ci/browser.sh
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(TESTERS) --dist loadfile

lint: setup ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Check the types (mypy, strict)
	@mkdir -p build/typing/leanboard
	@for p in $(filter-out leaderboard,$(PARTS)); do ln -sfn ../../../$$p build/typing/leanboard/$$p; done
	@ln -sfn ../../../site/leaderboard build/typing/leanboard/leaderboard
	$(BIN)/mypy $(PARTS:%=-p leanboard.%)
	$(BIN)/mypy benchmarks

site: ## Build the pages into build/site
serve: ## Show the pages on this machine
export: ## Write every record as CSV and Parquet
doctor: ## Say what this machine can measure and what not, and why
site serve export doctor: setup
	$(BIN)/leanboard $@

plan: setup ## Show what `make bench` would measure, and how long it may take
	$(BIN)/leanboard plan suite=quickstart

lock: ## Pin the newest versions that pyproject admits in constraints.txt
	bash .ci/lock.sh "$(PYTHON)"

clean: ## Remove what was built; local records and the virtual environment stay
	rm -rf build/site build/export build/typing build/sweeps build/lib dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
