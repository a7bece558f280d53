# finwait: run `make` or `make help` for what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED := 0

GO      ?= go
BIN     := bin/finwait
IFACE   ?=
FOR     ?= 20s
FUZZFOR ?= 30s
LINTER  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
ARCHES  := amd64 arm64

# With the profile of cmd/finwait everything is compiled once more: what is tested does without.
test race interop fuzz gateway check: export GOFLAGS := $(GOFLAGS) -pgo=off

# Interfaces and BPF need root; where make is not run by it, sudo asks.
ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## measure on IFACE=, or in a laboratory of namespaces for FOR= (needs root)
ifdef IFACE
	$(ROOT) ./$(BIN) run --interface $(IFACE)
else
	$(ROOT) ./$(BIN) lab --for $(FOR)
endif

.PHONY: build
build: ## build bin/finwait
	$(GO) build -o $(BIN) ./cmd/finwait

.PHONY: test
test: ## vet for every architecture, and all tests (those of BPF and namespaces need root)
	for arch in $(ARCHES); do GOARCH=$$arch $(GO) vet ./...; GOARCH=$$arch $(GO) build -o /dev/null ./cmd/finwait; done
	$(GO) test -timeout 9m ./...

.PHONY: race
race: ## all tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

.PHONY: interop
interop: ## hold finwait against other people's programs; installs them (Debian, root)
	.ci/interop-packages
	$(GO) test -tags interop -timeout 20m -run Interop ./...

.PHONY: picture
picture: ## take the pictures of the page in docs/ anew, in the laboratory (root, Chromium)
	$(GO) test -tags interop -count 1 -run InteropPageOfLab ./cmd/finwait -args -picture $(CURDIR)/docs/dashboard

.PHONY: gateway
gateway: ## start and stop a gateway 200 times under load, and hang for 10 s (needs root)
	FINWAIT_TEST_STARTS=200 $(GO) test -timeout 60m -run 'Starts|Stopped|Killed' -v ./xdp/gateway

.PHONY: bench-gateway
bench-gateway: ## measure a gateway beside the same box without finwait (needs root)
	$(GO) test -run '^$$' -bench Gateway -benchtime 1x ./cmd/finwait

.PHONY: profile
profile: ## renew cmd/finwait/default.pgo, by which the compiler knows what runs often
	dir=$$(mktemp -d); trap 'rm -r "$$dir"' EXIT; \
	$(GO) test -trimpath -run '^$$' -bench '^BenchmarkReplayInProcess$$' -benchtime 30x \
	  -cpuprofile $(CURDIR)/cmd/finwait/default.pgo -o "$$dir/finwait.test" ./cmd/finwait

.PHONY: generate
generate: ## compile the BPF programs anew (needs clang 14 and libbpf-dev)
	$(GO) generate ./...

.PHONY: lint
lint: ## golangci-lint, and gofmt of everything
	test -z "$$(gofmt -l .)"
	$(GO) run $(LINTER) run ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZFOR= each
	$(GO) list ./... | while read -r package; do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZFOR) $$package; \
	  done; \
	done

.PHONY: bench
bench: ## all benchmarks, in the form that benchstat reads (some need root)
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: check
check: lint generate race ## what to run before a change is offered
	git diff --exit-code -- '*.go' '*.o'

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
