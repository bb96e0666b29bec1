# `make` lists the targets.

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
UV_PIP := $(BIN)/uv pip
TYPED := $(wildcard ofa_pipeline flows tests/support)

# Set up again exactly when what is installed would change.
SETUP_KEY := $(shell cat Makefile pyproject.toml requirements.lock | cksum | tr -d ' ')
SETUP_DONE := $(VENV)/.setup-$(SETUP_KEY)

export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# torch and what it brings are large files.
export UV_HTTP_TIMEOUT ?= 300
# Behind a proxy that reads along, the certificate is in the system's store, where pip looks, too.
export UV_SYSTEM_CERTS ?= true

# Every stage is a process of its own: Python keeps what the first one compiles. To compile all
# that is installed would take longer than the imports of the whole pipeline do.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo platform check test coverage docs release format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(SETUP_DONE) ## Install what requirements.lock names into .venv (nothing to do: 0.1 s)

demo: setup ## Run the whole pipeline on the data set that comes with the package
	$(BIN)/ofa-pipeline run

platform: setup ## Start Prefect's server, MLflow's and the registry service here, until Ctrl-C
	$(BIN)/ofa-pipeline platform start

check: setup ## Formatting, lint, types, import contracts, installed versions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports
	$(UV_PIP) check --quiet

# Each process keeps up to 4 GB; the tests of a file stay together, with what they share.
JOBS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile

# Threads of OpenMP that wait for each other let other processes have the cores: no number changes.
test: export OMP_WAIT_POLICY ?= PASSIVE
test: setup check ## The checks, then every test, the end-to-end ones last, in JOBS=2 processes
	$(PYTEST) --ignore=tests/end_to_end
	if [ -d tests/end_to_end ]; then $(PYTEST) tests/end_to_end; fi

coverage: setup ## The tests without the end-to-end ones, with line and branch coverage
	$(BIN)/pytest --ignore=tests/end_to_end --cov

docs: setup ## Build the site of README, guides, decisions and docstrings: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "$(CURDIR)/build/site/index.html"

release: setup ## Wheel, source archive, SBOM and an audit of what they need: dist/
	$(BIN)/python scripts/release.py

format: setup ## Format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(BIN)/uv ## Resolve requirements.lock again (newer versions: UPGRADE=--upgrade)
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV_PIP) compile pyproject.toml --extra dev \
		--extra docs --extra reference --extra heif --extra postgres --extra s3 --extra openvino --extra litert --extra executorch --extra ncnn --extra cluster \
		--universal --python-version 3.11 --no-annotate --quiet $(UPGRADE) --output-file requirements.lock

clean: ## Remove caches and builds; .venv, artifacts, scratch and the registry stay
	rm -rf build dist *.egg-info htmlcov .coverage .coverage.* .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find ofa_pipeline flows tests benchmarks scripts -type d -name __pycache__ \
		-prune -exec rm -rf {} + 2>/dev/null || true

# pip installs uv and nothing else.
$(BIN)/uv:
	$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# editable_mode=compat: one line with this folder in a .pth file, so that new packages are found.
$(SETUP_DONE): | $(BIN)/uv
	$(BIN)/uv --version | grep -qF ' $(UV_VERSION)' || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV_PIP) sync --quiet requirements.lock
	$(UV_PIP) install --quiet --no-deps --no-build-isolation \
		--config-setting editable_mode=compat --editable .
	# Tells DVC whether this folder is under git: an unpacked archive is not.
	$(BIN)/ofa-pipeline init . > /dev/null
	rm -f $(VENV)/.setup-*
	touch $@
