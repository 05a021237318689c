# Short recipes. Each makes .venv by itself; an install is repeated only when pyproject.toml changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
SHELL  := /bin/bash -o pipefail
# The schema as the migrations make it, in an empty database that whatever follows uses too.
SCHEMA   = rm -f $(VENV)/schema.db*; export SEXTANT_DATABASE_URL=sqlite+aiosqlite:///$(VENV)/schema.db; $(BIN)/alembic upgrade head &&
SUDO     = $(if $(filter 0,$(shell id -u)),,sudo)
POSTGRES = $(shell command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: demo test lint bench bench-peers migrate chaos models chromium postgres gpu-check train
.DEFAULT_GOAL := demo
.NOTPARALLEL:

# pip's own report, one line for every 25 packages and for each large download.
define PROGRESS
/^Collecting/ { if (++n % 25 == 0) print "  " n " packages looked at, now " $$2 } \
/Downloading.*\([0-9.]+ GB\)|Downloading.*\([0-9]{3,}\.[0-9]+ MB\)/ { print "  fetching " $$2, $$3, $$4 } \
/^Installing collected/ { print "  unpacking, a minute or two" } /^(ERROR|WARNING: No)/ { print } { fflush() }
endef

$(VENV)/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what 'make $*' needs into $(VENV): up to 7 GB and 5 minutes the first time."
	$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --progress-bar off -e '.[$*]' 2>&1 | tee $(VENV)/install.log \
	  | awk '$(PROGRESS)' || { tail -n 20 $(VENV)/install.log; exit 1; }
	@touch $@

WEIGHTS := $(or $(SEXTANT_WEIGHTS_DIR),$(or $(SEXTANT_DATA_DIR),data)/models)/.prepared

models: $(WEIGHTS)

$(WEIGHTS): pyproject.toml config/profiles.toml $(wildcard config/models/*.toml)
	@$(BIN)/python -m bot models pull
	@$(BIN)/python -m bot models prepare
	@touch $@

demo: $(VENV)/.demo models      ## try the bot in your browser, without Discord; ONCE=1 plays the tour and ends
	@$(BIN)/python -m bot demo $(if $(filter-out 0,$(ONCE)),--once)

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SCHEMA) $(BIN)/alembic check

test: lint models chromium postgres      ## everything that must hold before a change is merged
	HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 --dist loadgroup
	@$(if $(CHROMIUM),,echo "Skipped for want of Chromium: tests/demo/test_page.py, the demo page in a real browser.")

# What tests use of the system: a continuous integration has it installed, others are told.
chromium:
ifneq ($(filter true 1,$(CI) $(SYSTEM)),)
	@test -n "$(CHROMIUM)" || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends chromium; }
else
	@test -n "$(CHROMIUM)" || echo "For the browser test, run once: sudo apt-get install --no-install-recommends chromium"
endif

postgres:
ifneq ($(filter true 1,$(CI) $(SYSTEM)),)
	@test -n "$(POSTGRES)" || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends postgresql; }
else
	@test -n "$(POSTGRES)" || echo "For the tests of PostgreSQL, run once: sudo apt-get install --no-install-recommends postgresql"
endif

bench: $(VENV)/.test models     ## measure; writes benchmarks/results/latest.json
	$(BIN)/python -m benchmarks

gpu-check: $(VENV)/.models       ## run the installed large models on this machine's GPU; IDS="flux-schnell sdxl" picks some
	$(BIN)/python -m benchmarks.gpu_check $(IDS)

# Each run goes on where it was stopped; `make train` after it has ended only writes the files again.
TRAIN = HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 nice $(BIN)/python -m

train: $(VENV)/.models           ## make the embedded models from nothing but code: hours on two cores
	$(TRAIN) training.autoencoder
	$(TRAIN) training.judge
	$(TRAIN) training.pictures --workers 2
	$(TRAIN) training.clips --workers 2
	$(TRAIN) training.captioner
	$(TRAIN) training.publish

# llama.cpp's kernels for AMX crash in virtual machines (github.com/ggml-org/llama.cpp/issues/20824).
NO_AMX = $(if $(shell grep -s amx_tile /proc/cpuinfo),-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)

PEERS    = $(VENV)-peers
LLAMA    = $(PEERS)/llama
# The server alone, without its page: that would be fetched.
SERVER   = -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
           -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF

bench-peers: $(PEERS)/bin/llama-server  ## what 'make bench' compares with, in an environment of its own; 15 minutes, once

$(PEERS)/bin/llama-server: benchmarks/peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	CMAKE_ARGS='-DCMAKE_C_FLAGS="$(NO_AMX)" -DCMAKE_CXX_FLAGS="$(NO_AMX)"' \
	  $(PEERS)/bin/python -m pip install --no-cache-dir -r benchmarks/peers.txt
	rm -rf $(LLAMA) && mkdir -p $(LLAMA)
	$(PEERS)/bin/python -m pip download --no-cache-dir --no-deps --no-binary llama-cpp-python -d $(LLAMA) -r benchmarks/peers.txt
	tar -xzf $(LLAMA)/llama_cpp_python-*.tar.gz -C $(LLAMA) --strip-components 1
	$(PEERS)/bin/cmake -S $(LLAMA)/vendor/llama.cpp -B $(LLAMA)/build $(SERVER) -DCMAKE_C_FLAGS="$(NO_AMX)" -DCMAKE_CXX_FLAGS="$(NO_AMX)"
	$(PEERS)/bin/cmake --build $(LLAMA)/build --target llama-server --parallel $(shell nproc)
	cp $(LLAMA)/build/bin/llama-server $@ && rm -rf $(LLAMA)

migrate: $(VENV)/.test          ## write the migration for changed tables: make migrate m="add a column"
	$(SCHEMA) $(BIN)/alembic revision --autogenerate -m "$(m)"

chaos: $(VENV)/.test            ## kill bots and workers, 200 times with each database
	SEXTANT_KILLS=200 $(BIN)/pytest tests/e2e/test_kill.py -s
