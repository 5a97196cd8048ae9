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
# Nothing is installed that is not locked, and nothing whose hash is another one.
INSTALL := $(VENV)/bin/python -m pip install --quiet --no-deps --require-hashes

# A file of tests in one process, a thread each: as many files at once as there are cores.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses $(CORES) --dist loadfile

# Snakemake needs a cache at home; where home is read-only, it is in the folder of the run.
CACHE := $${XDG_CACHE_HOME:-$$HOME/.cache}
ifneq ($(shell mkdir -p "$(CACHE)" 2> /dev/null && test -w "$(CACHE)" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif

.PHONY: run test test-faults test-all lint plan docs lock clean

run: $(INSTALLED)  ## build the dataset, train, evaluate, report
	@$(VENV)/bin/python -m workflow check $(CONFIG)
	$(VENV)/bin/snakemake --cores $(CORES) --configfile $(CONFIG)

plan: $(INSTALLED)  ## what `make run` would do
	@$(VENV)/bin/python -m workflow check $(CONFIG)
	$(VENV)/bin/snakemake --dry-run --quiet rules --configfile $(CONFIG)

test: $(INSTALLED)  ## everything that runs in under 10 minutes
	$(PYTEST)

test-faults: $(INSTALLED)  ## every fault that the project promises to survive, 20 minutes
	$(PYTEST) -m "faults or not faults" tests/faults

test-all: $(INSTALLED)  ## the slow tests too
	$(PYTEST) -m ""

lint: $(INSTALLED)  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile workflow
	@# Advice: it asks for a conda environment or container in rules that run in the project's own.
	-$(VENV)/bin/snakemake --lint

lock: $(INSTALLED)  ## the locked requirements anew from pyproject.toml; uv must be on the PATH
	$(VENV)/bin/python -m workflow.requirements

docs: $(INSTALLED)  ## the documentation as a site; a link that leads nowhere is an error
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:  ## remove results, keep the environment
	rm -rf results .snakemake docs/_build

$(INSTALLED): requirements.lock requirements-torch.lock requirements-torch-cpu.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --requirement requirements.lock
	@# The CPU build of PyTorch where pip finds it, or PyPI's with CUDA's libraries.
	$(INSTALL) --requirement requirements-torch-cpu.lock 2> /dev/null || $(INSTALL) --requirement requirements-torch.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(VENV)/bin/python -m pip check
	touch $@
