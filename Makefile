# The DeepLab course. `make lab` opens the first lesson, `make test` runs every test.
PYTHON    ?= python3
ARGS      ?=
BIN       := .venv/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb notebooks/solutions/*.ipynb)
FIRST     := notebooks/00_start_here.ipynb
INPUTS    := pyproject.toml constraints.txt tools/install.py

.PHONY: help lab app test site notebooks figures train camvid bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo "ARGS=... reaches jupyter lab, the app, pytest, tools/site, tools/notebooks.py, tools/family.py or tools/camvid.py; PYTHON=... names another python3."

lab: .venv/.trusted  ## install, then open lesson 00 in JupyterLab (ARGS=--no-browser on a server)
	$(BIN)/jupyter lab --ip=127.0.0.1 --LabApp.default_url=/lab/tree/$(FIRST) $(ARGS)

app: .venv/.lab  ## install, then open the playground in a browser, on this machine only (ARGS=--no-browser)
	$(BIN)/python -m deeplab_lite app $(ARGS)

test: .venv/.test  ## install, then run all tests in two processes (ARGS="-k atrous" for some, "-n 0" in one)
	$(BIN)/python -m pytest $(ARGS)

site: .venv/.site  ## build site/_build, the course as pages that need nothing but a browser (npm builds them)
	$(BIN)/python -m tools.site $(ARGS)

notebooks: .venv/.test  ## run all lessons in clean kernels and save their outputs
	$(BIN)/python tools/notebooks.py $(ARGS)

figures: .venv/.test  ## take the README's figures from the lessons' saved outputs
	$(BIN)/python -m tools.figures

train: .venv/.test  ## train the shipped networks anew and score them: hours on a CPU; stop it at will
	$(BIN)/python -m tools.family $(ARGS)
	$(BIN)/python -m benchmarks.ladder

camvid: .venv/.test  ## train v3+ and LargeFOV on CamVid and score them: hours on a CPU (ARGS=--download)
	$(BIN)/python -m tools.camvid $(ARGS)

bench: .venv/.test  ## ratios against peers, what the scenes are for, the scores of the shipped networks
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.crf
	$(BIN)/python -m benchmarks.field_size
	$(BIN)/python -m benchmarks.fc6
	$(BIN)/python -m benchmarks.separable
	$(BIN)/python -m benchmarks.decoder
	$(BIN)/python -m benchmarks.rates
	$(BIN)/python -m benchmarks.export
	$(BIN)/python -m benchmarks.starts
	$(BIN)/python -m benchmarks.seeds
	$(BIN)/python -m benchmarks.ladder

clean:  ## remove the environment and everything else that make made
	rm -rf .venv build dist site/_build site/node_modules .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# install.py makes these files after a step has succeeded, so an interrupted one is done again.
.venv/.lab: $(INPUTS)
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.10 to 3.13."; exit 1; }
	@$(PYTHON) tools/install.py lab

.venv/.test: .venv/.lab $(INPUTS)
	@$(PYTHON) tools/install.py test

.venv/.site: .venv/.lab $(INPUTS)
	@$(PYTHON) tools/install.py site

# Without trust, JupyterLab shows a fresh clone's widgets as pictures until they are run. And at its
# first start it covers the lesson with a question: whether it may fetch news.
.venv/.trusted: .venv/.lab $(NOTEBOOKS)
	@$(BIN)/jupyter trust $(NOTEBOOKS)
	@$(BIN)/jupyter labextension disable @jupyterlab/apputils-extension:announcements >/dev/null 2>&1
	@touch $@
