# What a person, or CI, does with this repository. Building needs Go; serving Perl
# needs perl; "make test" installs the rest (scripts/install-test-deps).

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
export STATICCHECK
NFPM = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
export NFPM
# The version in the program, by the last tag; see site/command/version.go.
BUILT = $(shell git describe --tags --match 'v[0-9]*' --always --dirty 2>/dev/null)

.DEFAULT_GOAL := build

.PHONY: deb rpm packages generate help build run quick test lint unit perl-test fuzz conformance cross bench-guard docs clean

## help: this list
help:
	@sed -n 's/^## //p' Makefile

## build: the gateway, as bin/pagi-bridge
build:
	go build -trimpath -ldflags '-X github.com/pagi-go/pagi-bridge/site/command.built=$(BUILT)' -o bin/pagi-bridge ./cmd/pagi-bridge

## deb, rpm: a package for ARCH (amd64, arm64; default that of this machine), in dist/
deb rpm:
	packaging/build $@ $(ARCH)

## packages: deb and rpm for both architectures
packages:
	for format in deb rpm; do for arch in amd64 arm64; do packaging/build $$format $$arch || exit 1; done; done

## run: the mixed example (PSGI, CGI, files, Go) at http://127.0.0.1:5000/
run:
	go build -o bin/20-mixed-site ./examples/20-mixed-site
	bin/20-mixed-site -c examples/20-mixed-site/site.yaml

## quick: between two edits: gofmt, go vet, the quick tests of Go and Perl
quick:
	scripts/quick

## test: everything CI does, with a list of what was skipped at the end
test:
	scripts/test

## lint: gofmt, go vet, staticcheck, perl -c
lint:
	scripts/lint

## unit: the Go tests alone, with the race detector
unit:
	go run ./scripts/gotest -race -count=1 ./...

## perl-test: the tests of the Perl runtime alone
perl-test:
	prove -r perl/t

## fuzz: every fuzzer for FUZZTIME (30s), Go and Perl
fuzz:
	scripts/fuzz

## generate: the Go code of plugin/proto/plugin.proto, with protoc and the generators that go.mod pins
generate:
	scripts/generate

## conformance: the suites of other people; see docs/conformance.md
conformance:
	scripts/conformance

## cross: would it compile elsewhere, tests included?
cross:
	go run ./scripts/typecheck linux/arm64 linux/386 darwin/arm64 freebsd/amd64

## bench-guard: is the working tree slower than the last tag, or than REV? Five cases, five minutes, on a quiet machine
bench-guard:
	@rev="$(REV)"; rev=$${rev:-$$(git describe --tags --abbrev=0 2>/dev/null)}; \
	test -n "$$rev" || { echo "bench-guard: there is no tag to compare with; say REV=..." >&2; exit 2; }; \
	go run ./bench -n 3 -s 2 --fail-below 0.95 compare "$$rev"

## docs: the documentation as a site with a search, in docs/.vitepress/dist, its links checked; needs Node 20
docs:
	cd docs && npm ci --no-audit --no-fund && npm run build

clean:
	rm -rf bin dist docs/.vitepress/dist docs/.vitepress/cache
