# Everything that is done to this project, one word each; `make` alone lists them.
# The active virtual environment is used where there is one, ./.venv otherwise.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin

# CUDA=AUTO compiles the CUDA bodies where nvcc is found; ON insists, OFF leaves them out.
# Without a GPU at hand: code for compute capability 9.0, and PTX that any device from 8.0 can load.
# A wheel holds code for all that people have, and PTX for what comes later.
CUDA ?= AUTO
WHEEL_ARCHITECTURES ?= 80-real;86-real;89-real;90-real;120-real;90-virtual
CUDA_ARCHITECTURES ?= $(shell nvidia-smi >/dev/null 2>&1 && echo native || echo "90-real;80-virtual")

# Two stamps in the environment: packages, and this checkout's build. The second names the
# checkout, since another one may have been installed into the same environment meanwhile.
PACKAGES := $(VENV)/.xscale-packages
BUILT := $(VENV)/.xscale-built
ifneq ($(shell cat $(BUILT) 2>/dev/null),$(CURDIR))
  FORGOTTEN := $(shell rm -f $(BUILT))
endif
SOURCES := pyproject.toml CMakeLists.txt $(shell find csrc benchmarks/ceiling -name '*.h' -o -name '*.c*')

TESTED := csrc benchmarks tests viewer xscale
NOT_LONG := not slow and not data and not cuda
# Real scenes for the tests marked data: this folder, where it is there.
export XSCALE_SCENES ?= $(wildcard $(CURDIR)/../shared/scenes)
LONG := $(if $(XSCALE_SCENES),not cuda,not cuda and not data)

.PHONY: help install demo test test-long bench lint fuzz soak wheel gpu-check docs clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(BUILT)  ## Put the locked packages and xscale, compiled, into the environment

$(PACKAGES): requirements/lock.txt requirements/dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

$(BUILT): $(PACKAGES) $(SOURCES)
	@echo "Building xscale (CUDA=$(CUDA), architectures $(CUDA_ARCHITECTURES))"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
	  --config-settings=cmake.define.XSCALE_CUDA=$(CUDA) \
	  --config-settings=cmake.define.XSCALE_CUDA_ARCHITECTURES="$(CUDA_ARCHITECTURES)" -e .
	@echo "$(CURDIR)" > $@
	@echo "Installed: $(BIN)/xscale"

demo: install  ## Make a small scene, train on it, render, score; prints the report's path
	@$(BIN)/xscale demo

test: install lint  ## Tests that need no GPU and no data, in minutes, and lint
	@$(BIN)/python -m pytest -q -m "$(NOT_LONG)"

test-long: install lint  ## All tests but the GPU's; those on real scenes where XSCALE_SCENES is
	@test -n "$(XSCALE_SCENES)" || echo "XSCALE_SCENES names no folder: the tests on real scenes are left out"
	@$(BIN)/python -m pytest -q -m "$(LONG)"

lint: $(PACKAGES)  ## ruff, clang-format, import rules: seconds
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/clang-format --dry-run -Werror $$(find csrc benchmarks/ceiling -name '*.h' -o -name '*.c*')
	@$(BIN)/lint-imports --no-cache | tail -n 3

bench: install  ## Every op against its peer; writes benchmarks/results/cpu.json
	@$(BIN)/xscale bench all --json benchmarks/results/cpu.json --overwrite

fuzz: install  ## Damaged inputs for MINUTES (2): only documented errors may come out
	@$(BIN)/python -m tests.fuzz.readers --minutes $(or $(MINUTES),2)
	@$(BIN)/python -m tests.fuzz.photos --minutes $(or $(MINUTES),2)
	@$(BIN)/python -m tests.fuzz.own_files --minutes $(or $(MINUTES),2)

soak: install  ## Kill and resume a training for MINUTES (10): nothing may be lost
	@$(BIN)/python -m tests.soak.kill_and_resume --minutes $(or $(MINUTES),10)

wheel: $(PACKAGES)  ## A wheel in dist/: every GPU from compute capability 8.0, checked by auditwheel
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/wheel.txt
	@echo "Building a wheel (CUDA=$(CUDA), architectures $(WHEEL_ARCHITECTURES))"
	@rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist \
	  --config-settings=cmake.define.XSCALE_CUDA=$(CUDA) \
	  --config-settings=cmake.define.XSCALE_CUDA_ARCHITECTURES="$(WHEEL_ARCHITECTURES)" \
	  --config-settings=build-dir=build/wheel .
	@$(BIN)/python -m auditwheel show dist/*.whl
	@ls -l dist

gpu-check:  ## On a machine with a GPU: build in place, tests by op, bars; PART=1 to 5, each 8 minutes at most
	@PYTHON=$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu_check.sh $(PART)

docs: install  ## Check the links, commands and examples of README and docs/
	@$(BIN)/python -m pytest -q tests/house/test_readme_commands.py tests/house/test_docs.py

clean:  ## Remove build products (the environment stays)
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache $(BUILT)
