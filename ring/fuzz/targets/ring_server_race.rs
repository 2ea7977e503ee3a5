//! libFuzzer's program for the target of this name.
#![no_main]

#[global_allocator]
static ALLOCATOR: outrigger_fuzz::CountingAllocator = outrigger_fuzz::CountingAllocator;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    outrigger_fuzz::watched(outrigger_ring_fuzz::server::race, input);
});
