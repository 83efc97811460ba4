# Two commands: `make demo` and `make test`. Each makes its own virtual environment, and needs only
# Python 3.11 or later. PYTHON chooses the interpreter, VENV the folder.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null)))
VENV ?= .venv
RUN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-slow lint style types tests docs tables clean

# The environment may say that Python keeps no bytecode: each process of the tests, and each that they
# start, would then compile all modules anew, ten seconds long.
export PYTHONDONTWRITEBYTECODE :=

demo: $(VENV)/.demo
	$(RUN)/jaxmed demo --out demo-report

# Types are checked beside the tests: by itself that would leave all cores but one idle.
test: style
	@$(MAKE) --no-print-directory -j2 types tests

tests: $(VENV)/.test
	$(RUN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" -q

# Those of paradigms are many small programs that run once, as in `make test`; the others are studies,
# whose programs are built as users' are.
SLOW := $(RUN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow -q
test-slow: $(VENV)/.test
	$(SLOW) tests/paradigms
	XLA_FLAGS=--xla_backend_optimization_level=2 $(SLOW) --ignore=tests/paradigms

lint: style types

style: $(VENV)/.test
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

types: $(VENV)/.test
	$(RUN)/pyright --pythonpath $(RUN)/python --level error

docs: $(VENV)/.docs
	$(RUN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

tables: $(VENV)/.test
	$(RUN)/python -m benchmarks tables --write

clean:
	rm -rf $(VENV) demo-report docs/_build .pytest_cache .ruff_cache

# One stamp a set of extras: installed again when the metadata change. The last step compiles the
# native convolution, or says in a line why it cannot and that the pure forms serve.
$(VENV)/.demo: EXTRAS := cpu,demo
$(VENV)/.test: EXTRAS := cpu,demo,data,export,formats,test
$(VENV)/.docs: EXTRAS := cpu,demo,formats,docs
$(VENV)/.demo $(VENV)/.test $(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	$(RUN)/python -m jaxmed.ops.build
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "jaxmed needs Python 3.11 or later on the PATH"; exit 1; }
	$(PYTHON) -m venv $(VENV)
