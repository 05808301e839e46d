# Two commands do everything on a fresh Debian 12 or 13: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
# Preset of the unit tests; .ci/run sets `tsan`, so that one build and one run serve tests, ThreadSanitizer and coverage.
TEST_PRESET ?= debug
# The oldest Kubernetes that README.md promises.
OLDEST_K8S := 1.30.14
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60
# The cluster of `make run`, and what is said about it, come from the command line, never from the environment.
from_command_line = $(if $(filter command,$(firstword $(origin $(1)))),$($(1)))
RUN_KUBECONFIG := $(call from_command_line,KUBECONFIG)
RUN_YES := $(call from_command_line,YES)
RUN_WEBHOOK_HOST := $(call from_command_line,WEBHOOK_HOST)
unexport KUBECONFIG

.PHONY: help deps build install-library run test unit conformance judge shard-conformance e2e e2e-oldest e2e-kind chart-test package-test mutants asan tsan tsan-e2e fuzz coverage coverage-report bench bench-shards bench-ctl lint docs docs-test format image image-test release release-test clean
# Prerequisites are made in the order they are written: what a target installs comes before anything that it builds.
.NOTPARALLEL:

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: deps-build ## Install the Debian packages that building needs and that are missing

# deps-GROUP-GROUP: all that a target needs, at once and before it builds. A compiler cache or a library that came later
# would have everything compiled again.
deps-%:
	@scripts/deps.sh build $(subst -, ,$*)

build: deps-build ## Build build/bin/sharder and build/bin/sharderctl
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS)
	@echo "built build/bin/sharder and build/bin/sharderctl"

install-library: build ## Install the library for controllers in C++ (docs/controllers.md) below PREFIX
	@for part in library development; do \
	  cmake --install build/release --prefix "$(or $(PREFIX),/usr/local)" --component $$part; done

run: deps-run$(if $(RUN_KUBECONFIG),-test) ## Show the sharder at work; KUBECONFIG=FILE: on that cluster, YES=1: without asking
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS) --target sharder apiserver checksum-controller
	@tests/e2e/demo.py $(if $(RUN_KUBECONFIG),--kubeconfig "$(RUN_KUBECONFIG)") $(if $(filter 1,$(RUN_YES)),--yes) \
	  $(if $(RUN_WEBHOOK_HOST),--webhook-host "$(RUN_WEBHOOK_HOST)")

test: deps-test-browser unit conformance judge e2e ## Everything that proves the product: unit tests, then a real control plane
	@echo "make test: all passed"

unit: deps-test ## Unit and in-process tests
	@scripts/unit.sh $(TEST_PRESET) $(JOBS)

e2e: deps-test-browser build ## The sharder on a real kube-apiserver; TESTS="assignment membership" for some
	@cmake --build --preset release -j $(JOBS) --target apiserver
	@tests/e2e/run.py $(TESTS)

conformance: deps-test build ## The embedded API server behaves as the real one
	@cmake --build --preset release -j $(JOBS) --target apiserver
	@tests/conformance/run.py --server both

judge: deps-test build ## Our shards keep the protocol; the judge finds broken ones out, and lets an intact one pass
	@cmake --build --preset release -j $(JOBS) --target apiserver checksum-controller
	@tests/shard_conformance/test_kit.py --only "keeps every rule"
	@tests/judge/test_judge.py
	@tests/judge/test_python_shard.py
	@tests/judge/test_broken_shards.py

shard-conformance: deps-test build ## The kit that judges shards of others: it finds each broken one out; 6 minutes
	@cmake --build --preset release -j $(JOBS) --target apiserver checksum-controller
	@tests/shard_conformance/test_kit.py

e2e-oldest: deps-test-browser build ## The same on the oldest Kubernetes that we promise
	@cmake --build --preset release -j $(JOBS) --target apiserver
	@env -u KUBEBUILDER_ASSETS K8S_VERSION=$(OLDEST_K8S) tests/e2e/run.py $(TESTS)

e2e-kind: deps-test-kind ## The image, the manifests and the chart in a whole cluster by kind; TESTS="shards" for some
	@tests/e2e/kind/run.py $(TESTS)

chart-test: deps-test build ## The Helm chart and manifests/: rendered, checked, installed on a real kube-apiserver
	@tests/chart/test_rendering.py
	@tests/chart/test_cluster.py

package-test: deps-test build ## The library as it is installed: builds programs from it, runs the example of docs/controllers.md
	@cmake --build --preset release -j $(JOBS) --target apiserver
	@tests/package/test_package.py

mutants: deps-test ## Do the tests notice when a rule is broken? MUTANTS="move_unguarded" for some
	@scripts/mutants.py -j $(JOBS) $(MUTANTS)

asan: deps-fuzz-bench-test-browser ## Unit tests and a short e2e under AddressSanitizer and UBSan; everything compiled by clang
	@scripts/unit.sh asan $(JOBS)
	@scripts/sanitized.sh asan $(JOBS) $(TESTS)

tsan: deps-test-browser ## Unit tests and a short e2e under ThreadSanitizer
	@scripts/unit.sh tsan $(JOBS)
	@scripts/sanitized.sh tsan $(JOBS)

tsan-e2e: deps-test-browser ## Only the short e2e
	@scripts/sanitized.sh tsan $(JOBS)

fuzz: deps-fuzz-bench-test ## Each fuzz target for FUZZ_SECONDS, in the build of `make asan`
	@cmake --preset asan
	@cmake --build --preset asan -j $(JOBS) --target fuzzers
	@scripts/fuzz.sh build/asan $(FUZZ_SECONDS)

coverage: deps-coverage-test ## Line coverage of the unit tests, with the floors that hold
	@scripts/unit.sh tsan $(JOBS)
	@$(MAKE) --no-print-directory coverage-report

coverage-report: deps-coverage ## The same of the last `make tsan` or `make unit TEST_PRESET=tsan`
	@scripts/coverage.sh build/tsan

bench: deps-bench-test ## Benchmarks
	@cmake --preset bench
	@cmake --build --preset bench -j $(JOBS) --target benchmarks
	@scripts/bench.sh build/bench

bench-shards: deps-bench-test ## Memory and CPU of a shard, beside the same controller in Go; takes about 20 minutes
	@cmake --preset bench
	@cmake --build --preset bench -j $(JOBS) --target checksum-controller note_copier
	@tests/bench/shards/measure.py

bench-ctl: deps-test build ## Time, CPU and memory of sharderctl over 20,000 objects, beside kubectl
	@tests/bench/ctl/measure.py

lint: deps-lint-test ## Formatting, includes, rules table, clang-tidy; LINT_BASE=REV: clang-tidy on what changed since
	@scripts/lint.sh

docs: deps-docs ## Build the documentation as a site into build/site; installs mkdocs-material below build/
	@scripts/site/build.sh

docs-test: deps-docs-test-browser docs ## Does the site load anything from elsewhere, and does each page fit a phone?
	@tests/site/test_site.py

format: deps-lint ## Format all C++ sources
	@git ls-files '*.h' '*.cc' | xargs clang-format-19 -i

image: ## Build the container image IMAGE (sharder:VERSION), print its size; BUILD_BASE=NAME: from that Debian
	@JOBS=$(JOBS) scripts/image.sh

image-test: deps-test ## What is in the image, what is not, does it run with no rights; its SBOM by syft
	@tests/image/test_image.py

release: deps-release build ## Tarball, .debs and checksums; COSIGN_KEY=FILE signs them, IMAGE=NAME:TAG pushes and signs the image
	@scripts/release.sh

release-test: deps-release-test build ## Are they complete and the signatures good? With cosign and a registry of its own
	@tests/image/test_release.py

clean: ## Remove build/
	@rm -rf build
