# `make run` and `make test` need only Python >= 3.11, make and git.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 9099
FIND_PYTHON = for python in "$${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do \
	  if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then echo "$$python"; exit 0; fi; done; exit 1

.PHONY: help run test hunt check docs bench examples gallery dist image image-pins sbom lock clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: $(VENV)/.run  ## Run a preview with a sample incident on http://127.0.0.1:9099 (PORT=… for another port)
	@$(BIN)/alert-router serve --preview --sample --listen 127.0.0.1:$(PORT)

# The test workers, and the routers that they start, reuse compiled modules even if the environment forbids writing them.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.test  ## Run the tests
	@$(BIN)/pytest -n auto --dist load --maxschedchunk 1 $(ARGS)

hunt: $(VENV)/.test  ## Run properties with new random examples until one fails (MINUTES=… limits it; SEED=… repeats a pass)
	@MINUTES=$(MINUTES) SEED=$(SEED) $(BIN)/python -m tests.hunt $(ARGS)

check: $(VENV)/.check  ## Run the linters and the type checker; build the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.tidy
	@$(DOCS)

# Material's notice about MkDocs 2 and its own end of life is no warning about a page.
DOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs: $(VENV)/.check  ## Build the documentation into build/site
	@$(DOCS)
	@echo "Open build/site/index.html"

bench: $(VENV)/.test  ## Measure everything for docs/performance.md (ARGS="--only ingest --quick" for a part)
	@$(BIN)/python -m bench $(ARGS)

examples: $(VENV)/.test  ## Make docs/examples
	@$(BIN)/python -m tests.sample_day

gallery: $(VENV)/.test  ## Make docs/gallery (needs Chromium and amtool)
	@$(BIN)/python -m tests.gallery

# Without build isolation: the build needs nothing but what requirements/test.txt locks. The wheel is built from the sdist.
dist: $(VENV)/.test  ## Build the sdist and the wheel into dist/
	@$(BIN)/python -m tests.dist

image:  ## Build the image alert-router:local (needs Docker)
	docker build --tag alert-router:local .

image-pins:  ## Add digests to the images of the Dockerfile and of compose.yaml (needs Docker and a registry)
	@deploy/image/pin

sbom: $(VENV)/.check  ## List what the image contains, in build/sbom.cdx.json
	@PYTHON=$(BIN)/python CYCLONEDX=$(BIN)/cyclonedx-py deploy/image/sbom build/sbom.cdx.json

LOCK = uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
  pyproject.toml --group build

lock:  ## Resolve the dependencies again (needs uv on the PATH)
	$(LOCK) --extra postgresql --upgrade -o requirements/run.txt
	$(LOCK) --all-extras -c requirements/run.txt -o requirements/image.txt
	$(LOCK) --all-extras --group test -c requirements/image.txt -o requirements/test.txt
	$(LOCK) --all-extras --group test --group check -c requirements/test.txt -o requirements/check.txt

clean:  ## Remove the environment and the caches; keep the state
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@python="$$($(FIND_PYTHON))" || { echo "Python 3.11 or newer is missing. Install it, or name it: make PYTHON=…" >&2; exit 1; }; \
	echo "Setting up $(VENV) with $$($$python --version) …"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2; exit 1; }

# A target is built again when its lock file or pyproject.toml changes. Each lock contains the one before it (run, image,
# test, check), so .test also makes .run.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL_ITSELF = $(INSTALL) --no-deps --no-build-isolation --editable .

$(VENV)/.run: $(VENV)/bin/python requirements/run.txt pyproject.toml
	@echo "Installing the router's dependencies …"
	@$(INSTALL) --require-hashes --requirement requirements/run.txt
	@$(INSTALL_ITSELF)
	@touch $@

$(VENV)/.test: $(VENV)/bin/python requirements/test.txt pyproject.toml
	@echo "Installing the dependencies of the router and its tests …"
	@$(INSTALL) --require-hashes --requirement requirements/test.txt
	@$(INSTALL_ITSELF)
	@touch $(VENV)/.run $@

$(VENV)/.check: $(VENV)/.test requirements/check.txt
	@echo "Installing the linters and the type checker …"
	@$(INSTALL) --require-hashes --requirement requirements/check.txt
	@touch $@
