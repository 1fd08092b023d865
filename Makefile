# make demo    install, then blur and restore two photographs           make test     every check
# make bench   ratios against the bare operations                        make soak     the tests with many more examples
# make system  system packages (apt-get)                                 make picture  the README's picture, made anew
# make docs    models.md, results.md and the tables of scores           make clean    remove what make made
# make photo-scores, photo-sheets   MODELS on all that weights for photographs are validated on: tables, pictures
#
# Everything lives in .venv. Once installed, nothing here needs a network. Choose another Python with PYTHON=...,
# give pytest more words with ARGS=..., e.g. make test ARGS='-k tiling'.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What an installation depends on: the folder it stands in, what is asked for, and the versions that were tested.
STATE = { pwd; cat pyproject.toml constraints.txt; } | cksum

.PHONY: demo test bench soak system picture docs clean photo-scores photo-sheets
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(ARGS)

soak: $(VENV)/installed-dev
	DEBLUR_SOAK=1 $(BIN)/pytest --timeout=3600 $(ARGS)

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/bench.py $(ARGS)

picture: $(VENV)/installed
	$(BIN)/python examples/demo.py --picture docs/images/before-after.png

docs: $(VENV)/installed
	$(BIN)/python docs/generate.py
	$(BIN)/deblur results weights/records/reports --runs weights/runs --page docs/results.md > /dev/null
	$(BIN)/python docs/result_pictures.py

# What photographs may have: real motion, each blur on sharp pictures, none at all, noise and JPEG beside the blur. The
# pictures lie below DEBLUR_DATA. ARGS are options of deblur eval, such as --limit 2.
MODELS ?= fast best
OUT ?= build/photo
PHOTO_PROTOCOLS := gopro-full reds-full reds_x4-full gopro-jpeg75 gopro-noise5 \
	$(addprefix kodak-,shake trajectory defocus gaussian identity shake-jpeg75 shake-noise5)
photo-scores: $(VENV)/installed
	$(BIN)/deblur eval --protocol $(PHOTO_PROTOCOLS) -m $(MODELS) --record $(OUT)/records $(ARGS)
	$(BIN)/deblur results $(OUT)/records -o $(OUT)/tables --markdown $(OUT)/scores.md --overwrite

# Truly blurred photographs, which have no sharp original, beside what the models make of them; to be looked at.
photo-sheets: $(VENV)/installed
	$(BIN)/deblur compare $(wildcard $(DEBLUR_DATA)/real_blur/*.webp) -m $(MODELS) -o $(OUT)/real_blur/ --overwrite

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "deblur-cli needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp remembers what it was made from: a newer file with the same content (a fresh checkout) installs nothing again.
$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@if [ "$$($(STATE))" != "$$(cat $@ 2>/dev/null)" ]; then $(call install,.) && $(STATE) > $@; fi
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@if [ "$$($(STATE))" != "$$(cat $@ 2>/dev/null)" ]; then $(call install,'.[dev]') && $(STATE) | tee $(VENV)/installed > $@; fi
	@touch $@

# opencv-python needs the system's libGL, which slim machines lack; then the headless wheel takes its place. The two
# share their files, so one must go before the other comes.
define install
$(PIP) uninstall -q -q -y opencv-python-headless && \
$(PIP) install -c constraints.txt -e $(1) && \
{ $(BIN)/python -c 'import cv2' 2>/dev/null || { \
	echo "opencv-python does not load here (libGL is missing?): replacing it by opencv-python-headless" >&2; \
	$(PIP) uninstall -q -y opencv-python && \
	$(PIP) install -q -c constraints.txt --no-deps opencv-python-headless && \
	$(BIN)/python -c 'import cv2'; }; }
endef

# libGL and GLib for opencv-python, chromium for the tests of the comparison page. Elsewhere than on Debian and Ubuntu install
# the like by hand, or do nothing: make then takes opencv-python-headless, and the tests marked browser are skipped.
SYSTEM_PACKAGES = $(if $(shell ldconfig -p 2>/dev/null | grep 'libGL\.so\.1'),,libgl1) \
	$(if $(shell ldconfig -p 2>/dev/null | grep 'libgthread-2\.0\.so\.0'),,libglib2.0-0) \
	$(if $(shell command -v chromium 2>/dev/null),,chromium)
system:
	@missing="$(strip $(SYSTEM_PACKAGES))"; \
	if [ -z "$$missing" ]; then \
		echo "system packages: all there"; \
	elif ! command -v apt-get >/dev/null; then \
		echo "no apt-get here: install what corresponds to $$missing, or do without"; \
	elif [ "$$(id -u)" != 0 ]; then \
		echo "not root: run 'sudo make system' for $$missing, or do without"; \
	else \
		export DEBIAN_FRONTEND=noninteractive; apt-get update -q || exit 1; \
		for package in $$missing; do \
			apt-cache show $$package >/dev/null 2>&1 || { echo "apt-get knows no $$package here: do without"; continue; }; \
			apt-get install -q -y --no-install-recommends $$package || exit 1; \
		done; \
	fi

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
