# One command for each thing people do here. CI calls `check` and `test`, nothing else.
#   make demo [DISK=path]   the main job: a guest's disk on a controller in another process
#   make bench              what each part costs, beside its peers (release, ten minutes at most)
#   make test               every test: units, loom models, end to end with real processes and KVM
#   make check              format, lints and docs, warnings as errors

CARGO ?= cargo
DISK ?=
LOOM_TARGET := target/loom

.PHONY: demo bench test test-units test-loom check fmt clippy docs clean

demo:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches
	target/release/outrigger-demo $(if $(DISK),--disk "$(DISK)")

bench:
	$(CARGO) build --release --locked -p outrigger-emulator -p outrigger-benches --features outrigger-benches/iceoryx2
	target/release/outrigger-bench

test: test-units test-loom

test-units:
	$(CARGO) test --workspace --locked

# Every wait and wake of the ring, in all interleavings.
test-loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked -p outrigger-ring --lib --target-dir $(LOOM_TARGET) loom

check: fmt clippy docs

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

clean:
	$(CARGO) clean
