# make demo    the main job on the embedded default: reports/demo/report.html
# make test    the tests, and the slowest ten
# make test-lowest, make test-latest  the fast tests with the lowest and the newest releases allowed
# make check   lint, format, types, layers, security
# make pip-audit  known vulnerabilities of the dependencies (network)
# make docs    the documentation: build/site
.DELETE_ON_ERROR:
.PHONY: setup demo test test-lowest test-latest check docs format example bench detection-quick clean

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

demo: $(STAMP)
	$(BIN)/rmaudit demo --out reports/demo

setup: $(STAMP)

# pip first: dependency groups need 25.1. torch is pinned by the constraints, never taken bare.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	touch $@

# One thread a worker: two processes of two threads each would fight for two cores. Bytecode is
# kept, whatever the machine's habit: tests start some hundred interpreters.
test: $(STAMP)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal --durations=10

# The fast tests in environments of their own: the lowest releases that pyproject.toml allows, and
# the newest. torch is the constraints' (a processor's build where pip is given one); what only an
# accelerator's build of it needs is left to pip. Extras are not installed: their tests are skipped.
# What an old release of one library says of a new one of another is no fault of the project.
test-lowest: RESOLUTION = --resolution lowest-direct
test-latest: RESOLUTION = --resolution highest --upgrade
test-lowest test-latest: test-%:
	rm -rf build/$*
	$(PYTHON) -m venv build/$*
	grep '^torch==' constraints.txt > build/$*/torch.txt
	build/$*/bin/python -m pip install --quiet "pip>=25.1" uv
	build/$*/bin/uv pip compile --quiet $(RESOLUTION) --python build/$*/bin/python \
	  --constraint build/$*/torch.txt --group test --no-annotate pyproject.toml \
	  | grep -vE '^(nvidia|cuda|triton)' > build/$*/releases.txt
	build/$*/bin/python -m pip install --quiet --requirement build/$*/releases.txt
	build/$*/bin/python -m pip install --quiet --no-deps --editable .
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= build/$*/bin/python -m pytest -n auto --dist worksteal -m "not slow" \
	  -o filterwarnings=default

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/bandit --quiet --recursive rmaudit --configfile pyproject.toml

# Known vulnerabilities of every pin; fails if one was not looked at, or the advisory service is out of
# reach. It needs a network, so it is no part of `check`.
pip-audit: $(STAMP)
	$(PYTHON) -m venv build/pip-audit
	build/pip-audit/bin/python -m pip install --quiet pip-audit
	$(BIN)/python benchmarks/pip_audit.py build/pip-audit/bin/pip-audit constraints.txt

# Warnings are errors: a broken link or an undocumented parameter fails it.
docs: $(STAMP)
	$(BIN)/python -m mkdocs build --quiet --strict --site-dir build/site

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The committed page. A test compares its metrics with a fresh run.
example: $(STAMP)
	$(BIN)/rmaudit demo --synthetic --out reports/example

# Speed: under 25 minutes on two quiet cores. Each writes benchmarks/results/*.json and *.md. With the
# Python of an environment that has rewardbench: make bench REWARDBENCH=PATH. Bytecode is kept,
# whatever the machine's habit: an installed package has it.
bench: export PYTHONDONTWRITEBYTECODE =
bench: $(STAMP)
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/million_pairs.py 1000000
	$(BIN)/python benchmarks/million_pairs.py 100000 --default
	$(BIN)/python benchmarks/shapes.py
	$(BIN)/python benchmarks/scoring.py $(if $(REWARDBENCH),--rewardbench $(REWARDBENCH))
	$(BIN)/python benchmarks/best_of_n_scoring.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/page.py

# Every planted flaw, two seeds, in the clinic: under ten minutes on two cores.
detection-quick: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/detection --worlds clinic --pairs 500 --seeds 2 \
	  --clean 10 --jobs 2 --minutes 9 --out build/detection-quick

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
