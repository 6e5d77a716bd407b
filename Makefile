# Everything a person or a CI job runs. Each target is a line or two: what needs logic is a program or a test.

SHELL := /bin/bash
BACKEND ?= xen
NEXTEST := cargo nextest run --no-fail-fast
# The crates that need no Xen headers to build: the workspace's default members.
XEN := -p pinfold-xen -p pinfold-libxl-sys

.PHONY: help demo test check deny unit xen-tests bench lab lab-image generate fuzz deb prerequisites

help: ## Lists the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## From a commit to running, pinned domains: on real Xen in QEMU, or in seconds with BACKEND=sim.
	@deploy/demo/run $(BACKEND)

test: prerequisites check unit xen-tests ## Everything CI runs. Skips nothing.

check: ## Formatting, lints, documentation, dependencies.
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo deny --log-level error check bans licenses sources
	cargo machete

unit: ## Tests that need no Xen: pure, simulated host, real git transports, black-box.
	$(NEXTEST) --workspace --exclude pinfold-lab -E 'not binary(/on_xen|real_xen/)'
	cargo test --workspace --doc --quiet

xen-tests: lab-image ## Tests on real Xen in QEMU, one lab at a time.
	$(NEXTEST) -j1 -p pinfold-lab -p pinfold-tests -E 'package(pinfold-lab) or binary(/_?on_xen|real_xen/)'

bench: lab-image ## Figures, as ratios where another tool exists.
	deploy/bench/run

lab: lab-image ## A shell in the dom0 of a fresh lab.
	cargo run --quiet -p pinfold-lab -- shell

lab-image: ## Builds the lab's image, once.
	cargo run --quiet -p pinfold-lab -- build

generate: ## Writes the files that are generated from the source: schemas, language reference.
	cargo run --quiet -p pinfold -- schema --write schema/v1alpha1

prerequisites: ## Installs what building and testing need, on Debian as root.
	@deploy/prerequisites
