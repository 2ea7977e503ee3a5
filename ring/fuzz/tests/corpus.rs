//! The committed corpus.

#[test]
fn no_input_of_the_corpus_fails() {
    outrigger_fuzz::replay(env!("CARGO_MANIFEST_DIR"), outrigger_ring_fuzz::TARGETS);
}
