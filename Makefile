# Two commands do all the set-up: `make demo` (the main job on real data) and `make test` (the whole suite).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 2
# One thread a process: two frameworks with a thread pool each fight over the cores.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: demo test lint bench docs mutants backend-scores keras-scores aten-scores random-graphs fuzz clean

demo: $(VENV)/.demo
	KERAS_BACKEND=torch $(BIN)/python -m models.demo

test: $(VENV)/.dev lint
	KERAS_BACKEND=torch $(TESTS)
	KERAS_BACKEND=tensorflow $(TESTS) -m "not one_backend"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev
	$(BIN)/python -m conversion_scripts.write_tables

# Plants faults in the adapters, one by one: each must turn a test red. 3 to 6 minutes.
mutants: $(VENV)/.dev
	KERAS_BACKEND=torch $(BIN)/python -m tests.mutants

# The ONNX backend test suite through every conversion; writes docs/backend-scores.md. About 5 minutes.
backend-scores: $(VENV)/.dev
	$(BIN)/python -m tests.backend_scores

# Every call of Keras' own unit tests through every conversion; writes docs/keras-scores.md. About 10 minutes.
keras-scores: $(VENV)/.dev
	$(BIN)/python -m tests.keras_scores

# Samples of PyTorch's operators through every conversion; writes docs/aten-scores.md and
# docs/aten-functions.md. About 5 minutes.
aten-scores: $(VENV)/.dev
	$(BIN)/python -m tests.aten_scores

# Random graphs through every runtime, other ones every time: 10,000 unless GRAPHS says otherwise. About an hour.
random-graphs: $(VENV)/.dev
	GRAPHS=$(or $(GRAPHS),10000) KERAS_BACKEND=torch $(BIN)/python -m pytest tests/test_random_graphs.py --hypothesis-show-statistics

# Feeds changed files to every reader, 100,000 of them unless EXECUTIONS says otherwise: about 5 minutes.
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz --executions $(or $(EXECUTIONS),100000)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e ".[keras,torch]" scikit-learn
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) out build *.egg-info
