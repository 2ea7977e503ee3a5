# One command for each thing people do here; `make help` prints the lines that begin with "#:". CI calls `test-deps`, `check`
# and `test`, nothing else.

#: make demo [DISK=image.raw]
#:     the main job: a guest's disk on a controller in another process
#: make test
#:     every test: units, loom models, end to end with real processes and KVM;
#:     ends with how many passed, failed and were skipped, and why
#: make nightly [CASES=n]
#:     the unit tests with n cases of each property, 100 times as many as usual
#:     by default (hours)
#: make judge [PROGRAMS=n] [SEED=n]
#:     n programs for each chip, and a quarter as many sequences of commands and
#:     of register accesses, on ours and on QEMU's own model
#: make test-deps
#:     installs the tools without which some tests say SKIPPED (apt-get, sudo)
#: make guest [QEMU=path] [KERNEL=path] [DISK=path]
#:     Linux on an unmodified QEMU runs fio on a disk behind the emulator and on
#:     QEMU's own; then the tests of Linux once more, five times as long
#: make bench
#:     what each part costs, beside its peers (release, ten minutes at most)
#: make density
#:     what idle devices cost: memory, start-up, threads, wake-ups; beside
#:     qemu-storage-daemon
#: make counts [RECORD=1]
#:     host instructions of each piece of work; fails if one costs more than is
#:     recorded; with RECORD=1 it writes the record
#: make bench-deps
#:     installs valgrind, which counts the instructions (apt-get, sudo)
#: make fuzz [SECONDS=60] [TARGETS="chip nbd"]
#:     fuzzes each target for so long; needs a C++ compiler (docs/fuzzing.md)
#: make fuzz-coverage, fuzz-minimise [TARGETS="chip nbd"]
#:     which lines its inputs reach; the fewest inputs that reach the same
#: make coverage-deps
#:     installs LLVM's tools of rustc's version, which fuzz-coverage needs where
#:     rustup has no llvm-tools (apt-get, sudo)
#: make check
#:     format, lints and documentation, warnings as errors: fmt, clippy, docs
#: make test-units, test-loom, test-fuzz, fmt, clippy, docs
#:     the parts of test and check
#: make help, clean

CARGO ?= cargo
DISK ?=
SECONDS ?= 60
TARGETS ?=
RECORD ?=
# Cases of each property in `make nightly`; proptest's own default is 256.
CASES ?= 25600
COUNTS := target/reports/counts.json
LOOM_TARGET := target/loom
# Programs of `make judge` for each chip, and the first one's seed.
PROGRAMS ?= 50000
SEED ?= 1

.PHONY: help demo test test-deps test-units test-loom test-fuzz nightly judge guest bench density counts count runner bench-deps
.PHONY: fuzz fuzz-minimise fuzz-coverage coverage-deps check fmt clippy docs clean

help:
	@sed -n 's/^#: \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

demo:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches
	target/release/outrigger-demo $(if $(DISK),--disk "$(DISK)")

bench: count
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches --features outrigger-benches/iceoryx2
	target/release/outrigger-bench --counts $(COUNTS)

density:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches --bin outrigger-emulator --bin outrigger-density
	target/release/outrigger-density --json target/reports/density.json

counts: count
	$(CARGO) run --quiet --release --locked -p outrigger-benches --bin outrigger-counts -- $(if $(RECORD),--accept) $(COUNTS)

# Without valgrind, this says so and the rest is measured.
count: runner
	mkdir -p $(dir $(COUNTS))
	$(CARGO) bench --locked -p outrigger-benches --bench counts -- --output-format=json >$(COUNTS)

# What starts valgrind, in target/tools. It must have the version of the library.
runner:
	-$(CARGO) install --quiet --debug --locked --root target/tools \
	    --version "=$$($(CARGO) pkgid --locked gungraun-runner | sed 's/.*[#@]//')" gungraun-runner

bench-deps:
	tests/tools.sh install bench

guest: export QEMU := $(QEMU)
guest: export KERNEL := $(KERNEL)
guest:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches
	target/release/outrigger-guest $(if $(DISK),--disk "$(DISK)")
	OUTRIGGER_ROUNDS=5 $(CARGO) test --release --locked -p outrigger-tests --test linux_disk --test linux_topology

# Goes on after a failure, and adds up what all parts say.
test:
	@tests/tools.sh missing test
	@tests/totals.sh $(MAKE) --no-print-directory --keep-going test-units test-loom test-fuzz

test-deps:
	tests/tools.sh install test

# The end-to-end tests start the emulator that lies beside them.
test-units:
	$(CARGO) build --locked -p outrigger-emulator
	$(CARGO) test --workspace --locked --no-fail-fast

# Every wait and wake of the ring, in all interleavings.
test-loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked -p outrigger-ring --lib --target-dir $(LOOM_TARGET)

# Properties stand in unit tests. A test that wants fewer cases than usual says so as a part of proptest's default, so that
# it gets more here too.
nightly:
	PROPTEST_CASES=$(CASES) $(CARGO) test --workspace --lib --locked

judge:
	OUTRIGGER_PROGRAMS=$(PROGRAMS) OUTRIGGER_SEED=$(SEED) $(CARGO) test --release --locked -p outrigger-tests --test qtest -- --nocapture

# `test-units` runs the committed inputs of each fuzz target; this looks a little further.
test-fuzz:
	tests/fuzz/run run 3

fuzz:
	tests/fuzz/run run $(SECONDS) $(TARGETS)

fuzz-minimise:
	tests/fuzz/run minimise $(TARGETS)

fuzz-coverage:
	tests/fuzz/run coverage $(TARGETS)

coverage-deps:
	tests/tools.sh install coverage

check: fmt clippy docs

fmt:
	$(CARGO) fmt --all --check

# Nothing that a guest, a peer or an image says may end a process: in what is shipped there is nothing that panics.
SHIPPED := outrigger-ring outrigger-vfio-user outrigger-proxy outrigger-device outrigger-block outrigger-emulator
# println! and its kin panic too, where nobody takes what they print.
PANICS := expect_used indexing_slicing panic print_stderr print_stdout string_slice todo unimplemented unreachable unwrap_used

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p outrigger-benches --lib --bins --locked -- -D warnings -D clippy::print_stderr -D clippy::print_stdout
	$(CARGO) clippy $(SHIPPED:%=-p %) -p outrigger-vmm --lib --bins --locked -- -D warnings $(PANICS:%=-D clippy::%)

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

clean:
	$(CARGO) clean
