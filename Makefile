# Every target does its own set-up; a second run finds it done.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup browser screenshots demo test soak up sample down check audit bench clean lock

help: ## what there is
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-11s %s\n", $$1, $$2 }'

setup: ## the servers and .venv, without starting anything
	@bash stack/setup.sh

demo: setup ## the whole stack with a simulated fleet in the foreground; DEMO_SECONDS=60 ends it by itself
	@exec $(PY) -m stack demo

test: browser ## the whole suite on a real broker and a real database; ARGS="-k sos" narrows it
	@$(PY) -m pytest --numprocesses 3 --dist worksteal $(ARGS)

browser: ## the set-up with Debian's Chromium, which the tests of the live screen drive
	@bash stack/setup.sh --with-browser

screenshots: browser ## new pictures of the live screen for the documentation, from a demo that runs
	@$(PY) -m stack pictures

up: setup ## the stack in the background; `. .run/env` then points clients and `tcu` at it
	@$(PY) -m stack up

sample: setup ## a made-up week for analysts in a database of its own beside the stack's; docs/analysts.md asks it
	@$(PY) -m stack sample

down: setup ## stops what `make up` started, keeps its data
	@$(PY) -m stack down

check: setup ## format, lint, types, import rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports

audit: setup ## secrets in git, dangerous code, packages with known vulnerabilities; a bill of materials in .run/sbom.cdx.json
	@$(PY) -m stack.audit

bench: browser ## the benchmarks: a table of ratios, and docs/performance.md; ARGS="drain" narrows it
	@$(PY) -m benchmarks $(or $(ARGS),drain live api takeover size analyst beside storage screen profile plot cookbook)

soak: setup ## faults at random for SECONDS=1800 under load, the database away for AWAY=600 of them
	@$(PY) -m tests.faults.soak --seconds $(or $(SECONDS),1800) --away $(or $(AWAY),600) $(ARGS)

clean: setup ## stops the stack and removes its data
	@$(PY) -m stack clean

lock: setup ## new requirements*.lock from pyproject.toml, pinned by hash
	$(PY) -m pip install -q uv
	$(PY) -m uv pip compile $(LOCK) pyproject.toml -o requirements.lock
	$(PY) -m uv pip compile $(LOCK) --all-extras pyproject.toml -o requirements-dev.lock

LOCK := -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
