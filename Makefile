# `make run` and `make test` need Python >= 3.11, make and a C compiler; they do their own set-up.

PYTHON ?= python3
CORES ?= $(shell nproc)
CONFIG ?= config/quickstart.yaml
VENV := .venv
# Snakemake knows no NO_COLOR.
ifdef NO_COLOR
export TERM := dumb
endif
# Written last: an interrupted installation is not taken for a finished one.
INSTALLED := $(VENV)/.installed

.PHONY: run test test-all lint plan docs clean

run: $(INSTALLED)  ## build the dataset, train, evaluate, report
	$(VENV)/bin/snakemake --cores $(CORES) --configfile $(CONFIG)

plan: $(INSTALLED)  ## what `make run` would do
	$(VENV)/bin/snakemake --dry-run --quiet rules --configfile $(CONFIG)

test: $(INSTALLED)  ## everything that runs in under 10 minutes
	$(VENV)/bin/python -m pytest

test-all: $(INSTALLED)  ## the slow tests too
	$(VENV)/bin/python -m pytest -m ""

lint: $(INSTALLED)  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile workflow
	@# Advice: it asks for a conda environment or container in rules that run in the project's own.
	-$(VENV)/bin/snakemake --lint

docs: $(INSTALLED)  ## the documentation as a site; a link that leads nowhere is an error
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:  ## remove results, keep the environment
	rm -rf results .snakemake docs/_build

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
