# Everything from a fresh clone: make conformance, make test. Needs Python 3.11 or newer; PYTHON=... chooses which.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 2

# pip compiles nothing, Python what is imported: half of the time of setting up. It must be allowed to keep it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup conformance quick accuracy capabilities bench bench-page site test lint types stubs wheel-check clean

setup: $(STAMP)

# Rebuilt when the dependencies change, so that a stale environment cannot hide a missing one.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "multiact needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose another with: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

conformance: $(STAMP)
	@mkdir -p build
	$(BIN)/multiact conformance --html build/conformance.html --json build/conformance.json

# Conformance in minutes; no figure may be worse than the published one of this processor.
quick: $(STAMP)
	@mkdir -p build
	$(BIN)/multiact conformance --quick --json build/quick.json
	$(BIN)/multiact accuracy build/quick.json --check

# Publishes the figures: multiact/measured.json and docs/accuracy.md.
accuracy: conformance
	$(BIN)/multiact conformance --native --json build/native.json || test $$? = 1
	$(BIN)/multiact accuracy build/conformance.json build/native.json --markdown docs/accuracy.md

# Publishes docs/capabilities.md and multiact/survived.json: every activation transformed, compiled, exported, sharded and saved; about an hour.
WHOLE := tests/test_surgery.py tests/test_transformers.py tests/test_training.py tests/test_processes.py tests/test_adaptive.py
capabilities: $(STAMP)
	@mkdir -p build
	$(BIN)/multiact conformance --mode capabilities --json build/capabilities.json || test $$? = 1
	$(BIN)/multiact conformance --mode capabilities --native --json build/capabilities-native.json || test $$? = 1
	$(BIN)/python -m pytest -q $(WHOLE) --junitxml build/whole.xml || test $$? = 1
	$(BIN)/multiact capabilities build/capabilities.json build/capabilities-native.json --tests build/whole.xml --markdown docs/capabilities.md --data multiact/survived.json

# Hours, most of them compiling. Nothing else should run on the machine.
bench: $(STAMP)
	@mkdir -p build
	$(BIN)/multiact bench --json build/bench.json --plot build/bench.png

# docs/performance.md and its drawings from the reports in the repository.
bench-page: $(STAMP)
	$(BIN)/multiact bench-page benchmarks/results/*.json

# The documentation, to be opened from disk: build/site/index.html.
site: $(STAMP)
	$(BIN)/python tools/build_site.py

test: lint types
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/python tools/check_types.py

stubs: $(STAMP)
	$(BIN)/python -m multiact.stubs

wheel-check: $(STAMP)
	$(BIN)/python tools/wheel_check.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
