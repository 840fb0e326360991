# Two commands: `make eval` runs the main job and prints the report's path, `make test` runs every check.
#
#   PYTHON=python3.12             another interpreter (3.11 or newer)
#   VENV=DIR                      another virtual environment
#   TORCH_INDEX=URL               take torch, and torch only, from this package index
#   ARGS="--frames 1,2"           passed on to `harness eval`
#   RUN=DIR                       the run that `make report` reports on
#   LMMS_VENV=DIR                 the virtual environment of `make lmms`
#
# `make lmms` installs lmms-eval and the harness into an environment of their own; `make lmms-test` tests the two together.
# `make gpu-memory` needs a CUDA device, and a build of torch for it (TORCH_INDEX); ARGS are its options.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
ARGS ?=
LMMS_VENV ?= .venv-lmms
LMMS_EVAL := lmms-eval==0.7.3
BENCHMARKS := $(if $(wildcard benchmarks/*.py),benchmarks)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CHECKED := harness fusion_impls tasks tests $(BENCHMARKS)
TYPED := harness tests $(BENCHMARKS)

.PHONY: eval test check lint report reference counted timing ablation gpu-memory lmms lmms-test clean
.DELETE_ON_ERROR:

eval: $(VENV)/.installed
	$(BIN)/harness eval --task videoqa $(ARGS)

test: lint
	$(BIN)/python -m pytest -n 2
	$(BIN)/harness check

# The gate on memory alone; its baseline changes with `harness check --update`.
check: $(VENV)/.installed
	$(BIN)/harness check

lint: $(VENV)/.installed-test
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy $(TYPED)

report: $(VENV)/.installed
	@test -n "$(RUN)" || { echo "make report: RUN is empty; give a run's folder, as in make report RUN=results/runs/NAME" >&2; exit 2; }
	$(BIN)/harness report "$(RUN)"

# The committed reference records and the report made from them.
reference: $(VENV)/.installed
	$(BIN)/harness eval --task videoqa --frames 1,2,4,8,16,32 --resolution 64 --seed 0,1,2 --out results/reference
	$(BIN)/harness eval --task videoqa --frames 8 --resolution 16,32,48 --seed 0,1,2 --out results/reference
	$(BIN)/harness eval --task multi_image --frames 1,2,4,8,16 --resolution 64 --seed 0,1,2 --out results/reference
	$(MAKE) counted timing
	$(BIN)/harness report results/reference --out reports/reference

# The reference's counted memory: the cells' own sizes, videos of up to an hour on a card, and a published session.
counted: $(VENV)/.installed
	$(BIN)/harness bench --mode prefill,stream --frames 1,2,4,8,16,32 --resolution 64 \
	  --dtype float32 --kernels cpu --out results/reference
	$(BIN)/harness bench --mode prefill,stream --frames 8 --resolution 16,32,48 \
	  --dtype float32 --kernels cpu --out results/reference
	$(BIN)/harness bench --mode prefill,stream --frames 1,16,60,300,900,1800,3600 --resolution 448 \
	  --backbone qwen2.5-vl-3b --out results/reference
	$(BIN)/harness bench --mode stream --frames 256 --resolution 896 --text 20 --text-per-frame 18 \
	  --backbone helium1-2b --methods token_insertion,vanilla_ca --out results/reference

# Reference timings: every method in turns, on the reference frames and sizes, then on noise beyond what a clip has.
# Some twenty minutes on two idle cores; factors need a machine that is idle otherwise (docs/design/interleaved_timing.md).
timing: $(VENV)/.installed
	$(BIN)/harness time --frames 1,2,4,8,16,32,64 --resolution 64 --out results/reference $(ARGS)
	$(BIN)/harness time --frames 8 --resolution 16,32,48 --out results/reference $(ARGS)
	$(BIN)/harness time --task multi_image --frames 1,2,4,8,16 --resolution 64 --out results/reference $(ARGS)
	$(BIN)/harness time --synthetic --weights random --frames 1,4,16,64,128,256 --resolution 64 --out results/reference $(ARGS)

# CASA's differences D1-D5 one by one, and gist tokens against pooled gists. Trains what is not trained yet.
ablation: $(VENV)/.installed
	$(BIN)/python -m harness.train.ablation --out models/ablation
	$(BIN)/harness eval --task videoqa --methods "$$($(BIN)/python -m harness.train.ablation --list)" \
	  --models models/ablation --frames 4,8,16 --resolution 64 --out results/ablation
	$(BIN)/harness report results/ablation --out reports/ablation

# Counted memory against a card's allocator; records under results/gpu, where a second run goes on.
gpu-memory: $(VENV)/.installed
	$(BIN)/python -m benchmarks.gpu_memory $(ARGS)

lmms:
	@$(MAKE) --no-print-directory VENV=$(LMMS_VENV) $(LMMS_VENV)/.installed-lmms
	@echo "lmms-eval is in $(LMMS_VENV): $(LMMS_VENV)/bin/harness eval --task lmms:NAME --data DIR"

lmms-test: lmms
	$(LMMS_VENV)/bin/python -m pytest -n 2 -m lmms tests/lmms

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "make: $(PYTHON) is missing or older than 3.11; install Python 3.11 or newer, or give PYTHON=/path/to/python" >&2; exit 4; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "make: $(PYTHON) has no venv module; install it (Debian: apt install python3-venv)" >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Torch first and alone, so that nothing installed later can choose another build of it.
$(VENV)/.torch: $(VENV)/.venv constraints.txt
	$(PIP) install --quiet -c constraints.txt --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	@touch $(VENV)/.installed $@

# lmms-eval's own requirements bring a torchvision that the CPU build of torch cannot load: what it needs is
# the extra `lmms`, and itself comes without them.
$(VENV)/.installed-lmms: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[lmms,test]'
	$(PIP) install --quiet --no-deps $(LMMS_EVAL)
	@touch $@

clean:
	rm -rf $(VENV) $(LMMS_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
