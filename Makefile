# Everything runs from .venv, which is made here. Paths are relative, so that
# the folder may have any name.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 \
	python3.11,$(shell $(name) -c \
	'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' \
	2>/dev/null)))
VENV := .venv
PY := $(VENV)/bin/python

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-whole lint bare docs bench bench-quick accelerators stress clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: $(VENV)/demo.stamp ## train a network on handwritten digits
	$(PY) examples/digits_cnn.py --out build/demo

test: $(VENV)/test.stamp ## run all tests, docstring examples included
	$(PY) -m pytest

test-whole: $(VENV)/test.stamp ## all tests, and all of the table of layers: half an hour more
	LAMINA_TESTS=whole $(PY) -m pytest

lint: $(VENV)/test.stamp ## check style, types and the import law
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) .ci/blocks.py build/blocks
	$(PY) -m pyright --pythonpath $(PY)
	$(VENV)/bin/lint-imports --no-logo

bare: $(VENV)/release.stamp ## what a stranger installs does what README promises
	$(PY) .ci/bare.py $(if $(KEEP),--keep $(KEEP))

NOTEBOOKS := $(patsubst examples/%.py,build/notebooks/%.ipynb,$(wildcard examples/*.py))

docs: $(VENV)/docs.stamp $(NOTEBOOKS) ## make the site in build/site: its pages run; QUICK=--quick for short examples
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --clean
	@echo "To read it: $(PY) -m http.server --directory build/site"

build/notebooks/%.ipynb: examples/%.py .ci/notebook.py | $(VENV)/docs.stamp
	$(PY) .ci/notebook.py $< $@ $(QUICK)

bench: $(VENV)/plot.stamp ## measure speed beside other libraries, in an hour
	$(PY) benchmarks/run.py

bench-quick: $(VENV)/plot.stamp ## the same in less than 15 minutes
	$(PY) benchmarks/run.py --quick

# Nobody has to say which machine a TPU is in that is not there.
accelerators: $(VENV)/test.stamp ## lower everything for CUDA and TPUs, without having one
	PYTHONPATH=.:benchmarks BENCH_PACKAGE=lamina JAX_PLATFORMS=cpu \
	  TPU_SKIP_MDS_QUERY=1 TPU_ACCELERATOR_TYPE=v5litepod-4 \
	  TPU_WORKER_HOSTNAMES=localhost $(PY) benchmarks/accelerators.py

stress: $(VENV)/test.stamp ## kill, interrupt and damage runs and files; watch the memory
	$(PY) benchmarks/stress.py

clean: ## remove everything that was made here
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/made.stamp:
	@test -n "$(PYTHON)" || { echo "Lamina needs Python 3.11 or newer."; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@touch $@

NATIVE := hatch_build.py $(wildcard src/lamina/kernels/native/*.cc \
	src/lamina/kernels/native/*.h)

# One stamp for each extra: a demo does not wait for the test tools.
$(VENV)/%.stamp: $(VENV)/made.stamp pyproject.toml $(NATIVE)
	@echo "Installing lamina[$*] into $(VENV); later runs skip this:"
	@rm -f $@.failed; { $(PY) -m pip install --disable-pip-version-check \
	  --progress-bar off -e ".[$*]" || touch $@.failed; } | sed -n \
	  -e 's/^ *Downloading .*\/\(.*\)/Downloading \1/' \
	  -e 's/^ *\(Downloading\|Using cached\) \([^-]*\)-\([^-]*\).*(\(.*\))/  \2 \3, \4/p' \
	  -e 's/^ *Preparing editable metadata.*/  compiling the kernels, half a minute/p'
	@if [ -e $@.failed ]; then rm $@.failed; exit 1; fi
	@touch $@
