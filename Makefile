# Everything a person or a CI job runs. Each target is a line or two: what needs logic is a program or a test.

SHELL := /bin/bash
BACKEND ?= xen
NEXTEST := cargo nextest run --no-fail-fast

.PHONY: help demo demo-sim test check unit soak fuzz fuzz-briefly lab-tests lab-long bench lab lab-image deb generate prerequisites

help: ## Lists the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## From a commit to running, pinned domains: on real Xen in QEMU, or in seconds with BACKEND=sim.
	@deploy/demo/run $(BACKEND)

demo-sim: ## The demo on the simulated host.
	@deploy/demo/run sim >/dev/null

test: prerequisites check unit fuzz-briefly demo-sim lab-tests ## Everything CI runs.

check: ## Formatting, lints, documentation, dependencies.
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo deny --log-level error check bans licenses sources
	cargo machete

unit: ## Tests that need no Xen: pure, simulated host, real git transports, black-box.
	$(NEXTEST) --workspace -E 'not ($(LAB_TESTS))'
	cargo test --workspace --doc --quiet

soak: ## Ten thousand generated worlds, or WORLDS=n: random edits, faults and kills.
	PINFOLD_SOAK_WORLDS=$(or $(WORLDS),10000) cargo nextest run --workspace --no-fail-fast -E 'binary(soak)'

fuzz: ## Fuzzes every reader of what others wrote: ten minutes each, or SECONDS_EACH=n. TARGET=xl fuzzes one.
	cargo run --quiet -p pinfold-fuzz --bin pinfold-fuzz -- --seconds $(or $(SECONDS_EACH),600) $(TARGET)

fuzz-briefly: ## The same number of runs each time, from the same seed.
	cargo run --quiet -p pinfold-fuzz --bin pinfold-fuzz

# A lab keeps about one core busy, so two of them share a machine of two. Most of a test's time is emulation.
lab-tests: lab-image ## Real Xen in QEMU: the lab, the worker's life of a guest, the daemon through kills, losses and the host's own day.
	$(ON_XEN) -E '($(LAB_TESTS)) - test(/$(AT_LENGTH)/)'

lab-long: lab-image ## The other tests on real Xen, an hour or two: before a release.
	$(ON_XEN) -E '($(LAB_TESTS)) and test(/$(AT_LENGTH)/)'

ON_XEN := PINFOLD_LAB_LIMIT=2 $(NEXTEST) -j2 --workspace
LAB_TESTS := package(pinfold-lab) or binary(/on_xen|real_xen/)
# Scenarios, which are played on the simulator at every commit; what the daemon's tests do by the worker's; the lab's own rarities.
AT_LENGTH := ^scenarios::(delete|delete_and_restore|disk_full|drift_of_a_pin|foreigners|frozen|guests_end|guests_end_while_nobody_looks|held_restarts|host_reboot|hvm_boots|live_changes|missing_things|modes|moved_by_hand|over_budget|overrides|partitions_in_a_circle|paused|restored_by_xl|taken_over|taken_over_hvm|three_partitions|trash_restore|vm_moves|wreckage|xenstore_lost)$$|^(console|crashes|dom0|failures|faults|host_day|hvm|memory|suspend|uefi|waits)::|^kills::a_killed_worker_leaves|^(guests_idle|pvh_guests|xen_finds|a_frozen)

bench: lab-image ## Figures, beside other tools where there are any. BENCH="validate daemon" runs parts, BENCH="--json FILE" writes them for machines.
	@cargo run --quiet -p pinfold-tests --bin bench -- $(BENCH)

lab: lab-image ## A shell in the dom0 of a fresh lab.
	cargo run --quiet -p pinfold-lab -- shell

lab-image: ## Builds the lab's image, once.
	cargo run --quiet -p pinfold-lab -- build

deb: ## Builds Debian packages for the Xen whose headers are installed here, into target/debian.
	cargo build --release -p pinfold -p pinfold-xen
	deploy/debian/build "$${CARGO_TARGET_DIR:-target}/release" "$${CARGO_TARGET_DIR:-target}/debian"

generate: ## Writes the files that are generated from the source: schemas, language reference, the table of power.
	PINFOLD_GENERATE=1 cargo test --quiet -p pinfold-schema --test generated
	PINFOLD_GENERATE=1 cargo test --quiet -p pinfold-planner --test power_edges

prerequisites: ## Installs what building and testing need, on Debian as root.
	@deploy/prerequisites
