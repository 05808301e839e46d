# Two commands do everything on a fresh Debian 12: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
# Preset of the unit tests; .ci/run sets `coverage`, so that one build serves both.
TEST_PRESET ?= debug
# The oldest Kubernetes that README.md promises.
OLDEST_K8S := 1.30.14
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60
# The cluster of `make run` comes from the command line, never from the environment.
ifneq ($(origin KUBECONFIG),command line)
RUN_KUBECONFIG :=
else
RUN_KUBECONFIG := $(KUBECONFIG)
endif
unexport KUBECONFIG

.PHONY: help deps build run test unit conformance e2e e2e-oldest mutants asan tsan fuzz coverage bench lint format clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install the Debian packages that building needs and that are missing
	@scripts/deps.sh build

build: deps ## Build build/bin/sharder
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS)
	@echo "built build/bin/sharder"

run: build ## Show the sharder at work; KUBECONFIG=FILE: on that cluster
	@scripts/deps.sh test
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS) --target sharder apiserver
	@tests/e2e/demo.py $(if $(RUN_KUBECONFIG),--kubeconfig "$(RUN_KUBECONFIG)")

test: unit conformance e2e ## Everything that proves the product: unit tests, then a real control plane
	@echo "make test: all passed"

unit: deps ## Unit and in-process tests
	@scripts/deps.sh test
	@cmake --preset $(TEST_PRESET)
	@cmake --build --preset $(TEST_PRESET) -j $(JOBS)
	@ctest --test-dir build/$(TEST_PRESET) --output-on-failure

e2e: build ## The sharder on a real kube-apiserver; TESTS="assignment membership" for some
	@scripts/deps.sh test
	@tests/e2e/run.py $(TESTS)

conformance: build ## The embedded API server behaves as the real one
	@scripts/deps.sh test
	@cmake --build --preset release -j $(JOBS) --target apiserver
	@tests/conformance/run.py --server both

e2e-oldest: build ## The same on the oldest Kubernetes that we promise
	@scripts/deps.sh test
	@env -u KUBEBUILDER_ASSETS K8S_VERSION=$(OLDEST_K8S) tests/e2e/run.py $(TESTS)

mutants: deps ## Do the tests notice when a rule is broken? MUTANTS="move_unguarded" for some
	@scripts/deps.sh test
	@scripts/mutants.py -j $(JOBS) $(MUTANTS)

asan: deps ## Unit tests and a short e2e under AddressSanitizer and UBSan
	@scripts/deps.sh test
	@scripts/sanitized.sh asan $(JOBS)

tsan: deps ## Unit tests and a short e2e under ThreadSanitizer
	@scripts/deps.sh test
	@scripts/sanitized.sh tsan $(JOBS)

fuzz: deps ## Each fuzz target for FUZZ_SECONDS
	@scripts/deps.sh fuzz test
	@cmake --preset fuzz
	@cmake --build --preset fuzz -j $(JOBS) --target fuzzers
	@scripts/fuzz.sh build/fuzz $(FUZZ_SECONDS)

coverage: ## Line coverage of the unit tests, with the floors that hold
	@scripts/deps.sh coverage
	@$(MAKE) --no-print-directory unit TEST_PRESET=coverage
	@scripts/coverage.sh build/coverage

bench: deps ## Benchmarks
	@scripts/deps.sh bench test
	@cmake --preset bench
	@cmake --build --preset bench -j $(JOBS) --target benchmarks
	@scripts/bench.sh build/bench

lint: deps ## Formatting, includes, rules table, clang-tidy; LINT_BASE=REV: clang-tidy on what changed since
	@scripts/deps.sh lint test
	@scripts/lint.sh

format: ## Format all C++ sources
	@scripts/deps.sh lint
	@git ls-files '*.h' '*.cc' | xargs clang-format-19 -i

clean: ## Remove build/
	@rm -rf build
