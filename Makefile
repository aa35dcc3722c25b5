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
test: lint test-sanity test-plugins test-unit test-gates test-way ## all tests

.PHONY: test-full
test-full: test test-scenarios ## all tests, and the heavier runs
	$(bin)/pytest tests/full

# One gate a target, so that tests/full/test_gates.py can show that each fails on a fault.
LINTS := lint-python lint-types lint-yaml lint-shell lint-changelog lint-roles lint-spelling lint-links lint-docs \
	lint-importer lint-ansible
# The tools of the docs have an environment of their own.
docs_bin = $$(dev/tool-venv docs dev/docs/requirements.txt)/bin
# What is in the tree, without what git ignores.
files = git ls-files -co --exclude-standard

.PHONY: lint $(LINTS)
lint: $(LINTS) ## ruff, mypy, yamllint, shellcheck, changelog, roles, spelling, links, docs, galaxy-importer, ansible-lint

lint-python: venv
	$(bin)/ruff check .
	$(bin)/ruff format --check .

lint-types: venv
	$(bin)/mypy -p ansible_collections.airgap.speech.plugins.module_utils

lint-yaml: venv
	$(bin)/yamllint --strict .

lint-shell: venv
	shellcheck $$($(files) | while read -r f; do [ -f "$$f" ] && head -c 20 "$$f" | grep -qE '^#!.*/(ba)?sh' && echo "$$f"; done; true)

lint-changelog: venv
	$(bin)/antsibull-changelog lint

lint-roles: venv
	$(bin)/python dev/role_specs.py

lint-spelling: venv
	$(files) -- '*.md' changelogs plugins/filter plugins/modules 'roles/*.yml' playbooks inventories | \
		while read -r f; do [ ! -f "$$f" ] || echo "$$f"; done | xargs $(docs_bin)/codespell

lint-links: venv
	$(docs_bin)/python dev/links.py

lint-docs: venv
	dev/docs-lint

lint-importer: venv
	dev/importer "$$(dev/tarball)"

lint-ansible: venv
	$(bin)/ansible-lint

.PHONY: role-docs
role-docs: venv ## write the tables of variables in the roles' READMEs
	$(bin)/python dev/role_specs.py --write

.PHONY: docs
docs: venv ## the docs site, in build/docs/html
	$(docs_bin)/python dev/docs/site.py

.PHONY: test-sanity
test-sanity: venv ## ansible-test sanity, with no ignore file
	dev/sanity

.PHONY: test-plugins
test-plugins: venv ## ansible-test units; ARGS="tests/unit/plugins/modules/test_htpasswd.py" for a part
	@$(SANDBOX) build
	dev/units $(or $(ARGS),tests/unit/plugins/)

.PHONY: test-unit
test-unit: venv ## the other unit tests, the speech server's with its real models among them
	@$(SANDBOX) build
	@$(SANDBOX) build oracle
	$(bin)/pytest tests/unit --ignore tests/unit/plugins
	tests/unit/open_speech/run

.PHONY: test-gates
test-gates: venv ## install paths, example inventories, what the pages say
	$(bin)/pytest tests/gates

.PHONY: test-matrix
test-matrix: venv ## units, sanity and a small playbook on each ansible-core that can be installed here
	$(bin)/python -m dev.matrix

.PHONY: test-way
test-way: venv ## the whole way on the sandbox (molecule's default scenario)
	$(bin)/molecule reset
	$(bin)/molecule test; status=$$?; cat build/way/integration.txt 2>/dev/null; exit $$status

# Each with a sandbox made anew: they are not in `make test`, whose time CI bounds.
.PHONY: test-scenarios
test-scenarios: test-node-runtime test-models test-gpu-operator ## nodes, models and GPUs, each in a scenario of its own

.PHONY: test-node-runtime
test-node-runtime: venv ## the role node_runtime on the sandbox (molecule's scenario of that name)
	@$(SANDBOX) build
	$(bin)/molecule reset -s node_runtime
	NAME=$(NAME) SUBNET=$(SUBNET) $(bin)/molecule test -s node_runtime; status=$$?; \
		cat build/node_runtime/verify.txt 2>/dev/null; exit $$status

.PHONY: test-models
test-models: venv ## models on the three kinds of volumes (molecule's scenario models; NAME=..., SUBNET=...)
	@$(SANDBOX) build
	$(bin)/molecule reset -s models
	NAME=$(NAME) SUBNET=$(SUBNET) $(bin)/molecule test -s models; status=$$?; cat build/models/verify.txt 2>/dev/null; exit $$status

.PHONY: test-gpu-operator
test-gpu-operator: venv ## the GPU operator with simulated GPU nodes (molecule's scenario gpu_operator)
	$(bin)/molecule reset -s gpu_operator
	NAME=$(NAME) SUBNET=$(SUBNET) $(bin)/molecule test -s gpu_operator; status=$$?; cat build/gpu_operator/verify.txt 2>/dev/null; exit $$status

.PHONY: bench-bundle
bench-bundle: venv ## a bundle written and verified, beside disk and sha256 (build/bench/bundle.json); ARGS="--rounds 1"
	$(bin)/python -m dev.bench_bundle $(ARGS)

.PHONY: bench-capacity
bench-capacity: venv ## the verdict's time and memory for 100, 1,000 and 5,000 nodes
	$(bin)/python -m dev.bench_capacity

.PHONY: capacity-oracle
capacity-oracle: venv ## the verdict beside the real scheduler's on 13,000 random cases (SEED=... repeats a run or goes on with it)
	$(bin)/python -m dev.capacity_oracle $(if $(SEED),--seed $(SEED)) $(if $(CASES),--cases $(CASES)) $(if $(SLICE),--slice $(SLICE))

.PHONY: bench-capacity-live
bench-capacity-live: venv ## the whole module against the sandbox with 1,000 simulated nodes and 10,000 pods
	$(bin)/python -m dev.bench_capacity_live --name $(NAME)

.PHONY: bench-open-speech
bench-open-speech: ## how many calls one replica of open_speech serves on this machine
	dev/bench-open-speech

.PHONY: bench-mirror
bench-mirror: venv ## the mirror beside skopeo, crane, oras and regctl (build/bench/mirror.json); ARGS="--keep --minutes 6" for a slice
	@dev/system-packages skopeo docker-registry
	$(bin)/python -m dev.bench_mirror $(ARGS)

.PHONY: bench-models
bench-models: venv ## a model of 2 GiB placed, beside rsync, skopeo and oras (build/bench/models.json); ARGS="--rounds 1 --tls no"
	@dev/system-packages rsync skopeo curl
	$(bin)/python -m dev.bench_models $(ARGS)

.PHONY: bench
bench: venv ## measure the way on the sandbox of the last demo
	$(bin)/python -m dev.bench

.PHONY: discovery
discovery: venv ## the images that a chart or manifests need (CHART=... VALUES="a.yml" or "small=a.yml large=a.yml,b.yml", FULL=1)
	@PYTHONPATH=build/collections $(bin)/python -m dev.discovery $(CHART) $(foreach v,$(VALUES),--values $(v)) $(if $(KUBE),--kube-version $(KUBE)) $(if $(FULL),--full) $(ARGS)

.PHONY: lock
lock: ## lock the developers' requirements again (requirements-dev.txt, dev/docs/requirements.txt)
	$(PYTHON) -m venv build/uv && build/uv/bin/pip --quiet install uv
	for name in requirements-dev dev/docs/requirements; do \
		build/uv/bin/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header $$name.in -o $$name.txt; \
	done

.PHONY: clean
clean: ## remove what was built in the checkout (the cache and sandboxes stay)
	rm -rf build .venv
