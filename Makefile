# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
# A sandbox has a name and an address range, so that several can live side by side.
NAME ?= airgap
SUBNET ?= 10.89.0.0/16
bin := .venv/bin
SANDBOX := $(bin)/python -m sandbox
# Our roles and modules are found by their FQCN; nothing is looked up on a network.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: system
system:
	@dev/system-packages git openssh-client python3-venv shellcheck

.PHONY: venv
venv: system ## the locked Python tools in .venv, and build/collections
	@dev/venv

.PHONY: demo
demo: venv ## from nothing to a transcribed sentence (TEXT="..." or AUDIO=file.wav for your own)
	@$(bin)/python -m dev.demo --name $(NAME) --subnet $(SUBNET) $(if $(TEXT),--text "$(TEXT)") $(if $(AUDIO),--audio "$(AUDIO)")

.PHONY: sandbox
sandbox: venv ## a real cluster with no way out, on this machine
	@$(SANDBOX) up --name $(NAME) --subnet $(SUBNET)

.PHONY: sandbox-down
sandbox-down: venv ## remove the sandbox and everything that it made
	@$(SANDBOX) down --name $(NAME)

.PHONY: test
test: lint test-sanity test-unit test-way ## all tests

.PHONY: test-full
test-full: test ## all tests, and the heavier runs
	$(bin)/pytest tests/full

.PHONY: lint
lint: venv ## ruff, mypy, yamllint, shellcheck, ansible-lint, the changelog, role specifications
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy -p ansible_collections.airgap.speech.plugins.module_utils
	$(bin)/yamllint --strict .
	shellcheck $$(git ls-files -co --exclude-standard | while read -r f; do [ -f "$$f" ] && head -c 20 "$$f" | grep -qE '^#!.*/(ba)?sh' && echo "$$f"; done; true)
	$(bin)/antsibull-changelog lint
	$(bin)/python dev/role_specs.py
	$(bin)/ansible-lint

.PHONY: test-sanity
test-sanity: venv ## ansible-test sanity, with no ignore file
	dev/sanity

.PHONY: test-unit
test-unit: venv ## unit tests, the speech server's with its real models among them
	@$(SANDBOX) build
	$(bin)/pytest tests/unit
	tests/unit/open_speech/run

.PHONY: test-way
test-way: venv ## the whole way on the sandbox (molecule's default scenario)
	$(bin)/molecule test; status=$$?; cat build/way/integration.txt 2>/dev/null; exit $$status

.PHONY: bench
bench: venv ## measure the way on the sandbox of the last demo
	$(bin)/python -m dev.bench

.PHONY: lock
lock: ## lock requirements-dev.txt again from requirements-dev.in
	$(PYTHON) -m venv build/uv && build/uv/bin/pip --quiet install uv
	build/uv/bin/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes requirements-dev.in -o requirements-dev.txt

.PHONY: clean
clean: ## remove what was built in the checkout (the cache and sandboxes stay)
	rm -rf build .venv
