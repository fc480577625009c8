# The front door: one target a command. `make` lists them.
# make's own shell work ends here; what needs thought is in tools/.

PYTHON ?= python3
REV ?= HEAD
EXTRAS ?=
VENV := .venv
# dvc runs `python` as it finds it: the environment's own comes first
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# nothing is told to anybody; the hub itself stays open, since recipes may take a base model from it
export DVC_NO_ANALYTICS := 1
export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup price plan repro test verify remote push pull chat clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with the pinned packages; EXTRAS="s3 ssh webdav" adds kinds of remotes
	@test -x $(VENV)/bin/python || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")' && \
		$(PYTHON) -m venv $(VENV); }
	@touch $(VENV)/installed
	@python -m tools.requirements $(EXTRAS) > $(VENV)/wanted
	@! grep -qvxFf $(VENV)/installed $(VENV)/wanted || { \
		echo "Installing the packages of pyproject.toml into $(VENV) (some minutes the first time)" && \
		python -m pip install -qq -c constraints.txt -r $(VENV)/wanted && \
		cp $(VENV)/wanted $(VENV)/installed; }

price: setup ## say what the teacher would cost before it is asked: requests, tokens, dollars, đồng, time
	@python -m tools.price

repro: setup ## make whatever is out of date: data, models, scores, report
	@dvc repro
	@python -m tools.summary

# of workers that end before their time no new one is begun: pytest-xdist would wait for it for ever
test: setup ## what CI runs: ruff, mypy, pytest
	@ruff check --quiet
	@ruff format --check --quiet
	@mypy
	@pytest -n logical --maxprocesses 4 --dist loadfile --max-worker-restart 0

plan: setup ## tell memory, hours and price before a run: make plan RECIPE=tiny GPU=rtx-3060
	@python -m tools.plan $(if $(RECIPE),--recipe $(RECIPE)) $(if $(GPU),--gpu $(GPU)) $(if $(GPUS),--processes $(GPUS)) \
		$(if $(MFU),--mfu $(MFU))

verify: setup ## make a commit again elsewhere and compare it to the bit: make verify REV=main
	@python -m tools.verify $(REV)

# an address is for everybody and goes into git; a path is this machine's own and would hide it
remote: setup ## say where data is shared: make remote URL=/a/folder, or URL=s3://bucket/path
	@test -n "$(URL)" || { echo "which remote? make remote URL=/a/folder, or URL=s3://bucket/path"; exit 2; }
	@dvc remote remove --quiet --local storage 2> /dev/null || true
	@case "$(URL)" in *://*) file=--project ;; *) file=--local ;; esac; \
		dvc remote add --quiet $$file --default --force storage "$(URL)" && \
		dvc remote modify $$file storage verify true && \
		echo "make push and make pull use $(URL)"

push: setup ## send this commit's data and models to the remote, and see that all is there
	@python -m tools.push

pull: setup ## fetch this commit's data and models; names what did not arrive whole
	@python -m tools.pull

chat: setup ## talk to the models of this commit in the browser
	@python -m stages.chat

clean: ## remove .venv and what the linters keep; no data
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
