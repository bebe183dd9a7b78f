# make chat   create the environment if needed and open the chat on the built-in model
# make test   the same set-up, then all tests
# make check  lint, types, import rule, generated docs

# The newest interpreter is not always the best supplied with wheels: the usual python3 first.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# llama-cpp-python is built from source. Only the library is needed: without llama.cpp's own tools and the vision
# library the build takes about half the time.
export CMAKE_ARGS ?= -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/cmake/slim-llama.cmake -DLLAVA_BUILD=OFF

.PHONY: chat test check clean

chat: $(READY)
	@$(BIN)/fovea chat

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "fovea needs Python 3.11 or newer; none was found."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (the first time takes some minutes: llama.cpp is compiled for this machine) …"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
