# Each target does all of its own set-up; bootstrap.py does the work, with or without make.
#   make test ARGS="-k split"      arguments for what is run
#   make test PYTHON=python3.12    the Python to build on

PYTHON = python3 python3.13 python3.12 python3.11 python
ARGS =

.PHONY: help install demo test check lock bench clean

help:
	@sed -n 's/^#//p' Makefile; echo "  targets: install demo test check lock bench clean"

# The first of these that runs; a shim may exist and still fail.
install demo test check lock bench clean:
	@for python in $(PYTHON); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null; then \
	    exec "$$python" bootstrap.py $@ $(ARGS); \
	  fi; \
	done; \
	echo "None of these runs as Python 3: $(PYTHON). Install Python 3.11, 3.12 or 3.13" \
	  "(Debian, Ubuntu: apt install python3 python3-venv), or name yours:" \
	  "make $@ PYTHON=/path/to/python3.12" >&2; \
	exit 2
