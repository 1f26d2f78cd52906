# Every command a developer or a user needs. `make demo` and `make test` start from a fresh machine.

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RELEASE := target/$(HOST)/release
CORACLE_BIN := $(CURDIR)/target/release/coracle
export CORACLE_BIN

.PHONY: build demo test unit e2e check bench setup setup-test setup-bench schema

build: setup
	cargo build --release --locked -p coracle -p free4chat-backend
	@mkdir -p target/release
	@ln -f $(RELEASE)/coracle target/release/coracle
	@ln -f $(RELEASE)/free4chat-backend target/release/free4chat-backend

demo: build
	scripts/setup demo
	scripts/demo

# From nothing to green: unit and in-process suites, then end-to-end with the release binary.
test: setup-test unit build e2e

unit:
	cargo test --locked --workspace --exclude coracle-cluster

e2e:
	cargo test --locked -p coracle-cluster -- --test-threads=1

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo 'cargo-deny is not installed, licences and duplicates are not checked: cargo install cargo-deny'; fi

bench: setup-bench build
	bench/all

# Regenerates the schema table from the pinned API crates.
schema:
	cargo xtask schema

setup:
	scripts/setup build

setup-test:
	scripts/setup test

setup-bench:
	scripts/setup bench
