# `make serve` and `make test` work on a machine that has only python3 and make.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
DATA_DIR ?= ./data
ENGINE ?= docker
IMAGE ?= lookalike
TORCH_BACKEND ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MADE := runs/encoders

# How the encoders that ship were trained (docs/encoders.md).
VEHICLE := --no-report-pictures --margin 0.1 --ema-decay 0.998 --steps 3000 --threads 1 \
	--licence Apache-2.0 \
	--description "Vehicles (cars, motorcycles, trucks, buses) across cameras, seen from behind and above; a residual network of 1.2 million parameters." \
	--intended-use "Finding one vehicle again in crops of road cameras, and trying Lookalike out. It was trained on 405 vehicles of one site: calibrate a threshold on your own pictures before you decide by it, and do not identify people with it."
OMNIGLOT := --val-split "" --network character_net --channels grey --size 64x64 --augmentation strokes \
	--further-classes symmetries --compounds 0.7 --identities 32 --images 4 --together 16 --margin 0.05 --ema-decay 0.998 \
	--steps 6000 --threads 1 \
	--licence MIT \
	--description "Handwritten characters of any alphabet, dark on light; a residual network of 0.93 million parameters that centres and scales what is drawn." \
	--intended-use "Telling drawn characters and symbols apart from one example each. Not for reading text, and not for identifying writers."

.PHONY: help setup serve test coverage check lint types contracts format lock fuzz verify-data verify-flips verify-kill verify-machine bench-core bench-rest bench-reranking bench-retrieval bench-photographs bench-learning bench-serving bench-hosting bench-gallery train-encoders train-vehicle train-omniglot image check-image clean
.DEFAULT_GOAL := help

ALL_TESTS := --numprocesses auto --dist loadfile --no-loadscope-reorder

help: ## Say what the targets do
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# torch comes from where pip is told to look (find-links), or else as the CPU build that uv knows;
# TORCH_BACKEND=cu128 (or auto) picks a GPU build.
$(STAMP): requirements.lock pyproject.toml scripts/install.sh
	$(PYTHON) scripts/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	scripts/install.sh $(BIN)/python
	touch $(STAMP)

setup: $(STAMP) ## Install everything into .venv

serve: setup ## Start the server on HOST:PORT with DATA_DIR
	$(BIN)/lookalike serve --host $(HOST) --port $(PORT) --data-dir $(DATA_DIR)

test: setup ## Run the test suite
	$(BIN)/pytest $(ALL_TESTS)

coverage: setup ## Run the test suite and say which lines it does not reach (90 % at least; a quarter slower)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ALL_TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: lint types contracts ## Lint, types, import contracts, file sizes

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python scripts/check_sizes.py

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

format: setup ## Format and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Resolve the dependencies again into requirements.lock
	scripts/lock.sh $(BIN)/python

fuzz: setup ## Test a server's answers against its own description, with schemathesis
	scripts/install.sh $(BIN)/python --editable '.[fuzz]'
	scripts/fuzz.sh $(BIN) --max-examples 30

# podman drops the health check unless it is told the format.
image: ## Build the container image IMAGE with ENGINE (docker or podman)
	$(ENGINE) build $(if $(filter podman,$(notdir $(ENGINE))),--format docker) \
		--build-arg TORCH_BACKEND=$(TORCH_BACKEND) --tag $(IMAGE) .

check-image: ## Prove what the image promises, on ENGINE
	scripts/check_image.sh $(ENGINE) $(IMAGE)

verify-data: setup ## Compare the server's answers on real pictures with a plain loop (docs/testing.md)
	$(BIN)/python -m benchmarks.real_data

verify-kill: setup ## Kill the server twenty times and a writer two hundred times, and look for what they had answered
	KILL_ROUNDS=20 $(BIN)/pytest tests/system/test_kill.py
	KILL_ROUNDS=100 $(BIN)/pytest tests/service/gallery/test_durability.py

verify-flips: setup ## Flip 600 bytes of a collection's files, one at a time, and ask it everything
	FLIP_PLACES=600 $(BIN)/pytest tests/service/gallery/test_flips.py

verify-machine: setup ## Any sequence of 2,000 and more calls on a collection, against brute force
	MACHINE_EXAMPLES=80 MACHINE_STEPS=50 $(BIN)/pytest tests/service/gallery/test_state_machine.py

bench-core: setup ## Measure the numerical core against its peers into docs/benchmarks.md (FRESH=--fresh forgets an interrupted run)
	$(BIN)/python -m benchmarks.core $(FRESH)

bench-rest: setup ## Measure what REST adds to distances and losses, into docs/benchmarks.md
	$(BIN)/python -m benchmarks.rest_numeric

bench-reranking: setup ## Measure k-reciprocal re-ranking against the dense formula, into docs/benchmarks.md
	$(BIN)/python -m benchmarks.reranking

bench-retrieval: setup ## Measure CMC and mAP of 20,000 x 20,000 beside the scripts of the field, into docs/benchmarks.md
	$(BIN)/python -m benchmarks.retrieval

bench-photographs: setup ## Measure faces in photographs beside their aligned crops, into docs/benchmarks.md
	$(BIN)/python -m benchmarks.photographs

bench-learning: setup ## Compare our training with pytorch-metric-learning's losses on Market-1501, into docs/benchmarks.md (THREADS=1 for one thread)
	$(BIN)/python -m benchmarks.learning $(if $(THREADS),--threads $(THREADS))

bench-hosting: setup ## Stress a server in five ways for 35 minutes, into docs/benchmarks.md (FRESH=--fresh forgets an interrupted run)
	$(BIN)/python -m benchmarks.hosting $(FRESH)

bench-serving: setup ## Load the hosted encoder and other model servers (needs wrk), into docs/benchmarks.md (FRESH=--fresh measures again)
	$(BIN)/python -m benchmarks.serving $(FRESH)

bench-gallery: setup ## Measure the gallery beside other vector stores and at a million items (needs wrk), into docs/benchmarks.md (FRESH=--fresh measures again)
	$(BIN)/python -m benchmarks.gallery $(FRESH)

# What training leaves beside a bundle (checkpoint, log) is not shipped, so it is made elsewhere and copied.
train-encoders: train-vehicle train-omniglot ## Train both encoders that ship again (DATA=folder of the datasets vehicles and omniglot)

train-vehicle: setup
	@test -n "$(DATA)" || { echo "Say where the datasets are: make $@ DATA=FOLDER" >&2; exit 2; }
	$(BIN)/lookalike train $(DATA)/vehicles --out $(MADE)/vehicle --resume $(VEHICLE)
	scripts/ship_bundle.sh $(MADE)/vehicle

train-omniglot: setup
	@test -n "$(DATA)" || { echo "Say where the datasets are: make $@ DATA=FOLDER" >&2; exit 2; }
	for archive in $(DATA)/omniglot/images_background*.zip; do $(BIN)/python -m zipfile -e $$archive $(MADE)/data/omniglot || exit 1; done
	$(BIN)/lookalike train $(MADE)/data/omniglot --out $(MADE)/omniglot --resume $(OMNIGLOT)
	scripts/ship_bundle.sh $(MADE)/omniglot

clean: ## Remove the environment and caches (never the data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
