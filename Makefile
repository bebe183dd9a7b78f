# make chat    talk to the built-in model        make test    run all tests
# make check   linters, types, import rule       make docs    regenerate the pages made from the code
#
# Everything is installed into .venv with the versions of constraints.txt; a second run finds it done.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin

# llama-cpp-python is built here. What fovea does not use of it (tools, vision) is left out: 3 min 21 s instead of
# more than 6 minutes on two cores; and its kernels are made to prefetch (cmake/wide-steps.cmake). Your own CMAKE_ARGS
# (for a GPU, say) are added.
ENGINE := -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/cmake/llama.cmake -DLLAVA_BUILD=OFF \
	-DCMAKE_PROJECT_ggml_INCLUDE=$(CURDIR)/cmake/wide-steps.cmake
RECIPE := pyproject.toml constraints.txt cmake/llama.cmake cmake/wide-steps.cmake
# PyTorch from PyPI brings several GB of CUDA libraries on Linux; nothing else is needed to use a GPU with it.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD := CMAKE_ARGS="$(ENGINE) $(CMAKE_ARGS)"
# pip keeps what it built once, by name and version alone: an engine built by another recipe is built again, unless it was
# built for a GPU. Without the recipe's mark it works too, only slower.
LIB := $(VENV)/lib/python*/site-packages/llama_cpp/lib
HASH := import hashlib; print(hashlib.sha256(open("cmake/wide-steps.cmake", "rb").read()).hexdigest()[:16])
MARKED = grep -qs "fovea recipe $$($(BIN)/python -c '$(HASH)')" $(LIB)/*
define OWN_ENGINE
@$(MARKED) || ls $(LIB) | grep -qiE "cuda|hip|vulkan|sycl|metal" || { \
	echo "Building the engine by fovea's own recipe ..."; \
	$(BUILD) $(PIP) install -c constraints.txt --force-reinstall --no-deps --no-cache-dir \
		--no-binary llama-cpp-python llama-cpp-python || true; }
@$(MARKED) || echo "The engine was built without prefetching (cmake/wide-steps.cmake); closer looks are slower."
endef

.PHONY: chat test check docs install clean

chat: $(VENV)/.chat
	@$(BIN)/fovea chat

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/fovea settings docs > docs/settings.md
	$(BIN)/python -m tui.cli_doc > docs/cli.md

install: $(VENV)/.dev

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "fovea needs Python 3.11 or newer (python3.11, python3.12, python3.13 or python3)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The chat alone: no torch, no test tools.
$(VENV)/.chat: $(RECIPE) | $(BIN)/python
	@echo "Installing fovea into $(VENV) (the engine is built once; this takes a few minutes) ..."
	@$(BUILD) $(PIP) install -c constraints.txt -e .
	$(OWN_ENGINE)
	@touch $@

$(VENV)/.dev: $(RECIPE) | $(BIN)/python
	@echo "Installing fovea with everything its tests need into $(VENV) ..."
	@$(BUILD) $(PIP) install -c constraints.txt -e ".[dev]"
	$(OWN_ENGINE)
	@touch $@ $(VENV)/.chat

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
