# Each target does all of its own set-up; bootstrap.py does it, with or without make.
#   make demo                      the whole path on synthetic data, offline
#   make test ARGS="-k split"      the tests; ARGS go to what is run
#   make test-slow                 those that run the commands of each document and app
#   make test PYTHON=python3.12    the Python to build on
#   make check                     linters, types, tests over sources and documents
#   make matrix                    the core path on every Python, and on the lowest versions
#   make wheel-check               a wheel, installed elsewhere: the demo of each app
#   make faults N=20               faults at so many file operations of each command, or at all
#   make fuzz N=5000               so many drawn inputs of each kind; else 100,000
#   make mutants MODULE=core.data.split   how many breaks of a module its tests see
#   make docs                      the documentation as a site, in site/
#   make bench                     the comparisons in bench/, or ARGS=NAME
#   make lock                      resolve pyproject.toml anew; ARGS=--upgrade moves every pin
#   make clean                     remove .venv and all that these targets made; runs stay

ARGS =
# The first that runs, is of a version that is locked and can make an environment.
SUITABLE = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON := $(shell for p in .venv/bin/python python3 python3.13 python3.12 python3.11 python; do \
  if "$$p" -c '$(SUITABLE)' 2>/dev/null; then echo "$$p"; break; fi; done)
# An older Python 3 is told by bootstrap.py what to install; what is no Python is told here.
RUNS := $(shell "$(PYTHON)" -c 'import sys; print(sys.version_info >= (3, 6))' 2>/dev/null)
NONE = None of python3, python3.13, python3.12, python3.11 and python is
RUN = $(if $(findstring True,$(RUNS)),"$(PYTHON)",$(error $(or $(PYTHON:%=% is not),$(NONE)) \
  a Python 3.11, 3.12 or 3.13 with its venv module. Install one (Debian, Ubuntu: apt install \
  python3 python3-venv), or name yours: make PYTHON=/path/to/python3.12)) bootstrap.py
UNIVERSAL = --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links --quiet

.PHONY: help install demo test test-slow check matrix wheel-check faults fuzz mutants docs bench lock clean

help:
	@sed -n 's/^#   //p' Makefile

install demo test test-slow:
	@$(RUN) $@ $(ARGS)

check: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -q tests/test_architecture.py tests/test_docs.py

matrix wheel-check mutants: install
	.venv/bin/python .ci/$(subst -,_,$@).py $(MODULE) $(ARGS)

faults: install
	RESIGHT_FAULTS=$(or $(N),all) .venv/bin/pytest -q -s -n 0 tests/test_faults.py $(ARGS)

fuzz: install
	RESIGHT_FUZZ=$(or $(N),100000) .venv/bin/pytest -q -n auto tests/test_fuzz.py $(ARGS)

docs: install
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict $(ARGS)

bench: install
	@for f in $(or $(ARGS:%=bench/%.py),$(wildcard bench/*.py)); do \
	  echo "$$ $$f"; .venv/bin/python $$f || exit; done

lock: install
	.venv/bin/uv pip compile pyproject.toml --extra all $(UNIVERSAL) $(ARGS) -o requirements.lock
	echo 'uv>=0.5' | .venv/bin/uv pip compile - $(UNIVERSAL) $(ARGS) -o bootstrap.lock
	.venv/bin/uv pip compile core/prediction/light.in -c requirements.lock $(UNIVERSAL) $(ARGS) -o core/prediction/requirements.txt

clean:
	rm -rf .venv .venv.lock build dist demo site .mutants *.egg-info .*_cache .hypothesis
	find core apps tests bench -name __pycache__ -prune -exec rm -rf {} +
