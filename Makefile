# `make` or `make help` lists what there is. Everything here is a go command that can be typed by hand.

LINTER := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
LINT   := $(shell go env GOPATH)/bin/golangci-lint
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
# How long each fuzz target runs.
FUZZTIME ?= 2m

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## build bin/millrace
	go build -trimpath -ldflags "-s -w -X github.com/millrace/millrace/internal/cli.commit=$(COMMIT)" -o bin/ ./cmd/millrace

.PHONY: test
test: ## run every test that needs nothing but Go
	go test ./...

.PHONY: race
race: ## run the tests with the race detector
	go test -race -short ./...

.PHONY: test-ceph
test-ceph: ## install and start a Ceph cluster, and run what needs one
	scripts/test-ceph

.PHONY: bench-ceph
bench-ceph: ## compare the Ceph store with rados bench and librados
	BENCH=1 scripts/test-ceph

.PHONY: lint
lint: $(LINT) ## run the linter and go vet
	$(LINT) run --allow-parallel-runners ./...
	go vet ./...

$(LINT):
	go install $(LINTER)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (2m)
	scripts/fuzz $(FUZZTIME)

.PHONY: docs
docs: ## write the generated pages of docs/ anew
	go test ./internal/app -run 'TestConfigDoc|TestMetricsDoc' -update
	go test ./graph/tensorflow -run TestGolden -update
	go test ./graph/gradient -run TestOperators -update
	go test ./engine/native -run TestOperatorsDoc -update
	go test ./engine/onnxruntime -run TestOperatorsDoc -update

.PHONY: long
long: ## run the tests that take long, and write docs/long.md
	scripts/long

.PHONY: faults
faults: ## make faults happen to a cluster, and write docs/faults.md (FAULTS=short for 10 minutes)
	scripts/faults

.PHONY: bench
bench: ## run the benchmarks (BENCH=short for the short form)
	scripts/bench

.PHONY: release
release: ## make archives, packages and checksums in dist/
	scripts/release $(VERSION)

.PHONY: ci
ci: ## run what CI runs
	.ci/run
