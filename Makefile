# charrnn: `make help` lists what can be asked for. Needs Python >= 3.11 and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
LOWEST := .venv-lowest
# `make lowest` keeps the tested torch, since an earlier one would bring gigabytes of CUDA on Linux.
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo test slow reliability lint format bench lowest docs site clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/docs: $(VENV)/run
	$(INSTALL) --editable '.[docs]'
	@touch $@

demo: $(VENV)/run ## Train for a minute on built-in text with a live bar, then print a sample.
	$(BIN)/charrnn train --minutes 1 --eval-every 200
	$(BIN)/charrnn sample --temperature 0.7 --length 600 --prompt "def "

test: lint ## Check style, types and layers, then run the tests.
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: $(VENV)/dev ## Run the tests that take minutes, and property tests with many more examples.
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow or hypothesis' --hypothesis-profile thorough

$(LOWEST)/dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps '$(TORCH)'
	echo '$(TORCH)' > $(LOWEST)/torch.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		--constraint $(LOWEST)/torch.txt --editable '.[dev]'
	@touch $@

lowest: $(LOWEST)/dev ## Run the tests with the lowest versions that pyproject.toml allows, but for torch.
	$(LOWEST)/bin/python -m pytest -n 2 --dist worksteal

reliability: $(VENV)/dev ## Kill real runs two hundred times; takes about half an hour.
	$(BIN)/python -m pytest -s -m reliability tests/reliability

lint: $(VENV)/dev ## Check style, types and layers.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev ## Put the code into the house format.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/dev ## Measure what docs/research/results.md states; takes about half an hour.
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/encoding.py
	$(BIN)/python benchmarks/corpus_memory.py
	$(BIN)/python benchmarks/checkpoint_cost.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/training_rate.py
	$(BIN)/python benchmarks/step_ratios.py
	$(BIN)/charrnn corpora fetch tiny-shakespeare
	$(BIN)/python benchmarks/training_overhead.py
	$(BIN)/python benchmarks/reference.py
	$(BIN)/python benchmarks/quality.py --budgets 1 5

docs: $(VENV)/dev ## Rebuild the pages of the reference that are made from the code.
	$(BIN)/python -m pytest -q tests/cli/test_docs.py tests/docs/test_configuration.py --rebuild-docs

site: $(VENV)/docs ## Build the documentation as a website in site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## Remove what make and the tests made; runs and corpora stay.
	rm -rf $(VENV) $(LOWEST) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
