# pg_llm. `make demo` and `make test` need nothing but this checkout, a C compiler, Python and Rust; what else they
# need is put under target/ (see .ci/setup). `make help` lists the targets.
#
#   PG_CONFIG=/path/to/pg_config  the server to build for, 14 to 18 (else PostgreSQL 18, brought into target/host)
#   PG_MATRIX="16 15"             further servers for `make test`, after the first: a version that target/host has,
#                                 or the path of a pg_config; they run what needs a server, TESTS="--test '*'"
#   TESTS="--test sql NAME"       what `make test-host` hands to cargo test
#   FUZZ_SECONDS=600              how long `make fuzz` gives each target (else 60)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PG_MATRIX ?=
TESTS ?=
FUZZ_SECONDS ?= 60
export PG_CONFIG DESTDIR

# CI must build what is committed; a developer may be changing dependencies.
LOCKED := $(if $(CI),--locked)

# The environment of a host build, as .ci/setup/env finds it.
# cargo shares its work out by itself: a jobserver of make's, closed to it, would only make it complain.
ENV := environment=$$(.ci/setup/env --print); set -a; eval "$$environment"; set +a; \
       unset MAKEFLAGS MFLAGS; \
       step() { printf '\n== %s\n' "$$*"; };

# $(call tools,DEV_OR_RELEASE,TARGETS): the programs that builds and tests use, and with them the components. TARGETS is --bins, or --all-targets for the
# tests: they want more features of what they share with the programs, and built first without them it is built twice.
define tools
$(ENV)
profile=$(1); dir=$$PWD/target/$${profile/dev/debug}
step "Building the tools and the tests ($$profile; first time some minutes)"
"$$CARGO" build $(LOCKED) --profile $$profile --workspace --exclude pg_llm $(or $(2),--bins)
step "Building the built-in providers as WebAssembly components"
.ci/setup/components "$$dir"
endef

# $(call build,DEV_OR_RELEASE,TARGETS): all of it, with the extension. That takes a second invocation of cargo, because one
# would unify features and pull the compiler for WebAssembly into the server's library.
define build
$(tools)
step "Building the extension for PostgreSQL $$PG_MAJOR ($$profile; first time some minutes)"
"$$CARGO" build $(LOCKED) --profile $$profile --package pg_llm --no-default-features --features pg$$PG_MAJOR
endef

# $(call stage,NAME_SUFFIX): a private copy of the server with the extension in it; PG_LLM_PG_CONFIG names it.
define stage
step "Installing into a private copy of PostgreSQL $$PG_MAJOR"
.ci/setup/server-copy "$$PWD/target/stage-$$PG_MAJOR$(1)"
export PG_LLM_PG_CONFIG="$$PWD/target/stage-$$PG_MAJOR$(1)/pg_config"
PG_LLM_PG_CONFIG=$$(readlink -f "$$PG_LLM_PG_CONFIG")
.ci/setup/place "$$PG_LLM_PG_CONFIG" "$$dir"
endef

.PHONY: help demo test test-guests test-host fuzz bench install components guest-javascript guest-python setup lint clean distclean

help:
	@cat <<'TEXT'
	make demo        a throw-away server, a model, a chat from SQL through a sandboxed component
	make test        every test: guests natively, then the host's crates against a throw-away server
	make fuzz        coverage-guided fuzzing of what guests and the host read (needs a C++ compiler)
	make bench       figures and ratios of the budgets, release build
	make install     release build, installed into a server: make install PG_CONFIG=/path/to/pg_config
	make components  only the built-in providers, as target/components/NAME.wasm, .cwasm and .json
	make guest-javascript, make guest-python   providers by others' tools (docs/other-languages.md): target/guests/*.wasm
	make setup       only what a build needs, under target/host: PostgreSQL, libclang, a rustc for WebAssembly
	make lint        rustfmt, clippy and shellcheck, warnings refused
	make clean       removes what was built;  make distclean  also what was downloaded
	TEXT

setup:
	@printf '== Checking what a build needs (first time: downloads of about 250 MB)\n'
	.ci/setup/base
	.ci/setup/postgres
	.ci/setup/libclang
	.ci/setup/wasm
	.ci/setup/env

components: setup
	@$(call tools,dev)

guest-javascript:
	@guest-sdk/javascript/build

guest-python:
	@guest-sdk/python/build

demo: setup
	@$(call build,dev)
	$(call stage)
	step "The demo"
	exec target/debug/demo

test: test-guests test-host
	@for server in $(PG_MATRIX); do
		case $$server in
			*/*) pg_config=$$server ;;
			*) pg_config=$$PWD/target/host/postgres-$$server/bin/pg_config ;;
		esac
		$(MAKE) test-host PG_CONFIG="$$pg_config" TESTS="--test '*'"
	done

test-guests: setup
	@$(ENV)
	step "Tests of the guests, run natively"
	"$$CARGO" test --manifest-path providers-wasm/Cargo.toml --target-dir target/guest-native --locked

test-host: setup
	@$(call build,dev,--all-targets)
	$(call stage)
	step "Tests of the host's crates, and of the extension in PostgreSQL $$PG_MAJOR"
	"$$CARGO" test $(LOCKED) --workspace --exclude pg_llm $(TESTS)

fuzz: setup
	@$(ENV)
	step "Fuzzing what guests and the host read (first time some minutes to build)"
	tests/fuzz/run $(FUZZ_SECONDS)

bench: setup
	@$(call build,release)
	$(call stage,-release)
	step "The bench (some minutes)"
	exec target/release/bench

install:
	@if [ -z "$$PG_CONFIG" ]; then
		PG_CONFIG=$$(command -v pg_config) || { printf 'error: which server? make install PG_CONFIG=/path/to/pg_config\n' >&2; exit 1; }
	fi
	$(MAKE) setup
	$(call build,release)
	step "Installing into PostgreSQL $$PG_MAJOR"
	.ci/setup/place "$$PG_CONFIG" "$$dir"

lint: setup
	@$(ENV)
	step "rustfmt"
	"$$CARGO" fmt --all --check
	"$$CARGO" fmt --manifest-path providers-wasm/Cargo.toml --all --check
	step "clippy, the host's crates"
	"$$CARGO" clippy $(LOCKED) --workspace --exclude pg_llm --all-targets -- -D warnings
	step "clippy, the extension"
	"$$CARGO" clippy $(LOCKED) --package pg_llm --no-default-features --features pg$$PG_MAJOR -- -D warnings
	step "clippy, the guests"
	"$$CARGO" clippy --manifest-path providers-wasm/Cargo.toml --target-dir target/guest-native --locked --all-targets -- -D warnings
	if command -v shellcheck >/dev/null; then
		step "shellcheck"
		shellcheck -x -P SCRIPTDIR .ci/run guest-sdk/javascript/build guest-sdk/python/build $$(grep -rlE '^#!.*bash|shellcheck shell=bash' .ci/setup)
	fi

clean:
	rm -rf target/debug target/release target/guest target/guest-native target/components target/guests target/stage-*

distclean:
	rm -rf target
