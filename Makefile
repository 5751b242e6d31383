# Each target prepares .venv by itself, and again whenever the dependencies have changed.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help venv test test-all lint notebooks reference demo align-demo bench clean

help:
	@echo "make venv       prepare .venv with everything below (PYTHON=$(PYTHON))"
	@echo "make test       the tests, but for the slow ones"
	@echo "make test-all   all tests"
	@echo "make lint       ruff and mypy"
	@echo "make notebooks  execute every notebook and keep what it shows"
	@echo "make reference  write docs/reference anew from the docstrings"
	@echo "make demo       read cheque amounts; options in DEMO"
	@echo "make align-demo align synthetic speech with its text; options in ALIGN_DEMO"
	@echo "make bench      the benchmarks beside their peers; options in BENCH"
	@echo "make clean      remove caches (neither .venv nor out/)"

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[recipes,speech,cluster,lines,notebooks,benchmarks,test]'
	touch $@

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

test-all: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m ""

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

notebooks: $(INSTALLED)
	for notebook in notebooks/*.ipynb; do \
		test ! -e "$$notebook" || $(BIN)/jupyter-execute --inplace --timeout=600 "$$notebook" || exit 1; \
	done

reference: $(INSTALLED)
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/losses.py

demo: $(INSTALLED)
	$(BIN)/python -m recipes.check_reader demo $(DEMO)

align-demo: $(INSTALLED)
	$(BIN)/python -m recipes.speech_alignment demo $(ALIGN_DEMO)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find gtn_ebm recipes benchmarks notebooks tests -name __pycache__ -type d -prune -exec rm -rf {} +
