# headway: make help lists what there is.

SHELL := /bin/bash
GO ?= go
BIN := bin

# Tests and the demonstration work with containers and namespaces: they run as root.
ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$$PATH")

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/headway
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN)/headway ./cmd/headway

.PHONY: demo
demo: setup build ## Three nodes on this machine, and the whole story from a commit to its revert
	$(ROOT) scripts/leftovers.sh $(GO) run ./test/demo -binary $(BIN)/headway

.PHONY: test
test: setup ## Every test, those with containers, namespaces and iptables too
	$(ROOT) scripts/leftovers.sh $(GO) test -timeout 30m ./...
	$(MAKE) sim

.PHONY: race
race: setup ## The packages with goroutines, under the race detector
	$(ROOT) $(GO) test -race -timeout 30m ./bus/... ./controller/... ./node ./schema/... ./sync/...

.PHONY: sim
sim: ## Simulate SEEDS runs (default 10000) of the control plane under faults
	$(GO) test ./test/sim -run TestSim -timeout 60m -args -seeds $(or $(SEEDS),10000)

.PHONY: crash
crash: setup ## Kill daemons at every step of a pod's life, and RUNS times (default 200) at random
	$(ROOT) scripts/leftovers.sh $(GO) test ./test/crash -v -timeout 60m -args -all -crowd -runs $(or $(RUNS),200) -seed $(or $(SEED),0)

.PHONY: bench
bench: setup build ## Measure against bare containerd, as ratios in one run
	$(ROOT) $(GO) run ./test/bench -binary $(BIN)/headway
	$(GO) test ./test/bench -run "^$$" -bench . -benchtime 3x

.PHONY: corpus
corpus: ## Score real repositories' manifests (CORPUS=dir, default ../shared/corpus; OUTPUT=json)
	@$(GO) run ./test/corpus -corpus $(or $(CORPUS),../shared/corpus) -o $(or $(OUTPUT),text)

.PHONY: lint
lint: ## golangci-lint, as pinned in tools/go.mod, and the builds for other systems
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/headway
	GOOS=windows CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/headway

.PHONY: fmt
fmt: ## Format the code
	$(GO) tool -modfile=tools/go.mod golangci-lint fmt ./...

.PHONY: fuzz
fuzz: ## Fuzz each entry for FUZZTIME (default 1m)
	scripts/fuzz.sh $(or $(FUZZTIME),1m)

.PHONY: docs
docs: ## Write the pages of docs that are generated anew
	$(GO) test ./schema -run SupportPage -update
	$(GO) test ./cmd/headway -run CommandsPage -update
	$(GO) test ./test/e2e -run TroubleshootingPage -update

.PHONY: setup
setup: ## Install what the machine lacks (containerd, runc, iptables, conntrack, busybox)
	@scripts/setup.sh
