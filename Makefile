# liftoff: build, run, test. `make help` lists the targets.

GO          ?= go
BIN         := $(CURDIR)/bin
PREFIX      ?= $(HOME)/.local
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.8.0
VULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.1.4
SOAK_KILLS  ?= 500
SOAK_MODULES ?= 20000
SOAK_ARM64  ?= 2000
FUZZTIME    ?= 2m
SIM_SEEDS   ?= 20
# One cgo setting for build and test, so that they share a build cache.
export CGO_ENABLED = 0

.PHONY: help build plugins image deploy examples run test test-all arm64 check fmt-check lint soak fuzz bench sim install release vuln setup clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

build: ## bin/liftoff
	@$(GO) build -ldflags "$(LDFLAGS)" -o $(BIN)/liftoff ./cmd/liftoff

plugins: ## bin/liftoff-executor-docker, for PATH or a repo's plugins folder
	@$(GO) build -ldflags "-s -w" -o $(BIN)/liftoff-executor-docker ./cmd/liftoff-executor-docker

image: build ## build the image liftoff from deploy/Dockerfile
	@rm -rf $(BIN)/image && mkdir -p $(BIN)/image/repo && cp $(BIN)/liftoff $(BIN)/image/liftoff
	docker build -f deploy/Dockerfile -t liftoff $(BIN)/image

deploy: build ## test the files in deploy/, as far as this machine can
	@GO=$(GO) BIN=$(BIN) sh .ci/deploy

examples: ## build the example guests into bin/wasm; missing toolchains are reported and skipped
	@$(MAKE) --no-print-directory -C wasm-examples GO=$(GO) BIN=$(BIN)/wasm

run: build ## build, add the sources of the Go tree, run an example over their CID
	@$(MAKE) --no-print-directory -C wasm-examples GO=$(GO) BIN=$(BIN)/wasm wordcount
	@GO=$(GO) BIN=$(BIN) sh .ci/demo

test: ## run every test that needs only Go
	$(GO) test -timeout 15m ./...

test-all: setup ## run the tests that also need Kubo, clang, Rust, root or gcc
	@GO=$(GO) BIN=$(BIN) sh .ci/test-all

arm64: ## run the examples on arm64 under qemu and compare the Outcomes
	@GO=$(GO) BIN=$(BIN) sh .ci/arm64

setup: ## install what test-all needs, if possible
	@GO=$(GO) BIN=$(BIN) sh .ci/setup

check: fmt-check lint test ## check format, vet, staticcheck, layers, and run the tests

fmt-check:
	@out=$$($(GO) run $(GOFUMPT) -l .); test -z "$$out" || { echo "gofumpt -w these:"; echo "$$out"; exit 1; }

lint:
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) build -o /dev/null ./cmd/liftoff
	$(GO) run $(STATICCHECK) ./...

soak: build ## kill and fuzz for hours; SOAK_KILLS, SOAK_MODULES, SOAK_ARM64 and FUZZTIME set the amount
	LIFTOFF_KILLS=$(SOAK_KILLS) $(GO) test -count=1 -timeout 6h -run 'Kill|Crashes' -v ./host/store/... ./internal/e2e
	LIFTOFF_TEST_LARGE=1 LIFTOFF_FUZZ_SEED=random LIFTOFF_FUZZ_MODULES=$(SOAK_MODULES) $(GO) test -count=1 -timeout 6h -v -run 'FloatsAgree|Pressure|LargeFunctions|RandomModules|MutationsAgree' ./runtime/wasm/meter
	@GO=$(GO) BIN=$(BIN) MODULES=$(SOAK_ARM64) LIFTOFF_TEST_LARGE=1 sh .ci/arm64
	@$(MAKE) --no-print-directory fuzz

fuzz: ## run every fuzz target for FUZZTIME
	@GO=$(GO) FUZZTIME=$(FUZZTIME) sh .ci/fuzz

bench: build examples ## run every benchmark that the docs quote
	LIFTOFF_TEST_LAB=1 $(GO) test -run '^$$' -bench . -benchtime 1s ./...

sim: ## simulate markets of 10, 100 and 1,000 peers (the table in docs/scale.md); SIM_SEEDS sets the runs
	$(GO) test -count=1 -timeout 3h -run 'TestTable' -v ./scheduler/sim -full -seeds $(SIM_SEEDS)

install: build plugins ## install programs, man pages and shell completions below $(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/liftoff $(BIN)/liftoff-executor-docker $(DESTDIR)$(PREFIX)/bin
	$(BIN)/liftoff __man $(DESTDIR)$(PREFIX)/share

release: ## build static binaries for linux amd64 and arm64, with man pages, completions and checksums, into dist
	@rm -rf dist && mkdir -p dist
	@for arch in amd64 arm64; do \
		for program in liftoff liftoff-executor-docker; do \
			echo "dist/$$program-linux-$$arch"; \
			GOOS=linux GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags "$(LDFLAGS) -buildid=" -o dist/$$program-linux-$$arch ./cmd/$$program || exit 1; \
		done; \
	done
	@$(GO) run ./cmd/liftoff __man dist/share
	@echo dist/liftoff-share.tar.gz
	@tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C dist -cf - share | gzip -9n > dist/liftoff-share.tar.gz
	@rm -r dist/share
	@cd dist && sha256sum liftoff-* > SHA256SUMS && cat SHA256SUMS

vuln: ## list known vulnerabilities of the dependencies; needs their database, so not part of check
	$(GO) run $(VULNCHECK) ./...

clean: ## remove bin and dist
	rm -rf bin dist
