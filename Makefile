# The two commands of README.md are `make demo` and `make test`; everything else is for daily work.
PYTHON ?= python3.11
JOBS ?= 2
BIN := .venv/bin
READY := .venv/installed
ZOO := .venv-zoo/bin
ZOO_READY := .venv-zoo/installed
DOCS := .venv-docs/bin
DOCS_READY := .venv-docs/installed

export LANDCOVER_HOME ?= $(CURDIR)/var
export DAGSTER_HOME ?= $(LANDCOVER_HOME)/dagster
export MLFLOW_DISABLE_TELEMETRY := true
export PYTHONUNBUFFERED := 1
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help install demo materialise test test-fast test-long cases zoo test-zoo test-dagster docs docs-serve check versions lint format ui doctor check-dataset bench clean

help:            ## what can be done here
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

install: $(READY)  ## the environment in .venv
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)     ## the whole lineage on a generated landscape, through Dagster
	@$(BIN)/python -m assets.demo

materialise: $(READY)  ## all that is missing or stale of DATASET=name
	@$(BIN)/landcover materialise $(DATASET)

# one thread a worker: two workers on two cores would otherwise wait for each other
test: export OMP_NUM_THREADS := 1
test: $(READY)     ## the tests, but for those marked long
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not long"

test-fast: export OMP_NUM_THREADS := 1
test-fast: $(READY) ## for daily work: without servers, trainings and whole lineages
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not long and not slow"

test-long: export OMP_NUM_THREADS := 1
test-long: export LANDCOVER_RANDOM_EXAMPLES := true
test-long: $(READY)  ## all tests, the long ones too: workflows with models and maps, measured memory
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

cases: $(READY)    ## inputs and workflows that went wrong, as a table; CASES=folder for your own
	@$(BIN)/python -W ignore -m tests.cases $(CASES)

# in an environment of its own: torchvision does not import beside a CPU build of torch without help
zoo: $(ZOO_READY)  ## the environment of the extra zoo (segmentation-models-pytorch, timm) in .venv-zoo
$(ZOO_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-zoo
	$(ZOO)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev,zoo]'
	@touch $@

test-zoo: export OMP_NUM_THREADS := 1
test-zoo: $(ZOO_READY)  ## the tests of the extra zoo
	$(ZOO)/python -m pytest tests/zoo

test-dagster: export OMP_NUM_THREADS := 1
test-dagster: $(READY)  ## the orchestration tests on the newest minor version of Dagster, where a later one installs
	$(BIN)/python -m tools.newest_dagster

# in an environment of its own, without the library: mkdocstrings reads its sources
$(DOCS_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' > .venv-docs/requirements.txt
	$(DOCS)/python -m pip install --quiet --constraint constraints.txt --requirement .venv-docs/requirements.txt
	@touch $@

docs docs-serve: export NO_MKDOCS_2_WARNING := 1
docs: $(READY) $(DOCS_READY)  ## the documentation in site/, after its generated pages and schemas; warnings are errors
	$(BIN)/python -m tools.generate_docs
	$(DOCS)/mkdocs build --strict --quiet

docs-serve: $(READY) $(DOCS_READY)  ## the documentation on http://127.0.0.1:8000, built anew at each change
	$(BIN)/python -m tools.generate_docs
	$(DOCS)/mkdocs serve

versions: $(READY) ## records the sources that each code version stands for, once VERSION was raised where bytes changed
	$(BIN)/python -m tools.record_versions

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .

check: lint test   ## what CI runs: ruff, mypy --strict, tests

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(READY)       ## Dagster on http://127.0.0.1:3000, MLflow on http://127.0.0.1:5000
	@$(BIN)/landcover ui

doctor: $(READY)   ## what was found on this machine, and the fix for what is wrong
	@$(BIN)/landcover doctor

check-dataset: $(READY)  ## every problem of every file of DATASET=name
	@$(BIN)/landcover check $(DATASET)

bench: $(READY)    ## figures against the machine's own limits; NAMES="lineage pages", TILE=54000x38000 for full size
	@$(BIN)/python -m tests.benchmarks $(if $(TILE),--tile $(TILE)) $(NAMES)

clean:             ## removes the environments; var/ (your products) stays
	rm -rf .venv .venv-zoo .venv-docs site
