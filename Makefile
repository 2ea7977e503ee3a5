# One command for each thing people do here. CI calls `check` and `test`, nothing else.
#   make demo [DISK=path]   the main job: a guest's disk on a controller in another process
#   make bench              what each part costs, beside its peers (release, ten minutes at most)
#   make counts [RECORD=1]  host instructions of each piece of work; fails if one is not as recorded (or records them)
#   make guest [QEMU=path] [KERNEL=path] [DISK=path]
#                           Linux on an unmodified QEMU runs fio on a disk behind the emulator, and on QEMU's own;
#                           then the tests of Linux once more, five times as long
#   make test               every test: units, loom models, end to end with real processes and KVM
#   make nightly [CASES=n]  the unit tests with n cases of each property, 100 times as many as usual by default (hours)
#   make judge [PROGRAMS=n] [SEED=n]
#                           n programs for each chip, and as many commands for its disks, on ours and on QEMU's own model
#   make check              format, lints and docs, warnings as errors

CARGO ?= cargo
DISK ?=
RECORD ?=
# Cases of each property in `make nightly`; proptest's own default is 256.
CASES ?= 25600
COUNTS := target/reports/counts.json
LOOM_TARGET := target/loom
# Programs of `make judge` for each chip, and the first one's seed.
PROGRAMS ?= 50000
SEED ?= 1

.PHONY: demo bench counts count bench-tools guest test test-units test-loom nightly judge check fmt clippy docs clean

demo:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches
	target/release/outrigger-demo $(if $(DISK),--disk "$(DISK)")

bench: count
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches --features outrigger-benches/iceoryx2
	target/release/outrigger-bench --counts $(COUNTS)

counts: count
	target/release/outrigger-counts $(if $(RECORD),--accept) $(COUNTS)

count: bench-tools
	mkdir -p $(dir $(COUNTS))
	$(CARGO) bench --locked -p outrigger-benches --bench counts -- --output-format=json >$(COUNTS)

# What instructions are counted with; without it, the rest is measured. The runner must have the version of the library.
bench-tools:
	@if ! command -v valgrind >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends valgrind; fi
	-$(CARGO) install --quiet --debug --locked --root target/tools \
	    --version "=$$($(CARGO) pkgid --locked gungraun-runner | sed 's/.*[#@]//')" gungraun-runner

guest: export QEMU := $(QEMU)
guest: export KERNEL := $(KERNEL)
guest:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches
	target/release/outrigger-guest $(if $(DISK),--disk "$(DISK)")
	OUTRIGGER_ROUNDS=5 $(CARGO) test --release --locked -p outrigger-tests --test linux_disk --test linux_topology

test: test-tools test-units test-loom

# What the tests of image formats compare with. Without it, and without the rights to install it, they say SKIPPED.
test-tools:
	@if ! command -v qemu-nbd >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-utils; fi

# The end-to-end tests start the emulator that lies beside them.
test-units:
	$(CARGO) build --locked -p outrigger-emulator
	$(CARGO) test --workspace --locked

# Every wait and wake of the ring, in all interleavings.
test-loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked -p outrigger-ring --lib --target-dir $(LOOM_TARGET)

# Properties stand in unit tests. A test that wants fewer cases than usual says so as a part of proptest's default, so that
# it gets more here too.
nightly:
	PROPTEST_CASES=$(CASES) $(CARGO) test --workspace --lib --locked

judge:
	OUTRIGGER_PROGRAMS=$(PROGRAMS) OUTRIGGER_SEED=$(SEED) $(CARGO) test --release --locked -p outrigger-tests --test qtest -- --nocapture

check: fmt clippy docs

fmt:
	$(CARGO) fmt --all --check

# Nothing that a guest, a peer or an image says may end a process: in what is shipped there is nothing that panics.
SHIPPED := outrigger-ring outrigger-vfio-user outrigger-proxy outrigger-emulator
# println! and its kin panic too, where nobody takes what they print.
PANICS := expect_used indexing_slicing panic print_stderr print_stdout string_slice todo unimplemented unreachable unwrap_used

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy $(SHIPPED:%=-p %) --all-features --lib --bins --locked -- -D warnings $(PANICS:%=-D clippy::%)

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

clean:
	$(CARGO) clean
