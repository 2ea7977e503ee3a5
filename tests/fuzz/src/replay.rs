//! Running the inputs that are committed.

use std::fs;
use std::path::Path;

use crate::{Target, watched};

/// Runs each target on all inputs in `corpus/` of the crate whose directory is `manifest`. Where the environment has
/// `OUTRIGGER_CORPUS`, runs the inputs in that directory instead: `make fuzz-coverage` has larger ones there.
///
/// # Panics
/// If a target does, or has no inputs.
pub fn replay(manifest: &str, targets: &[Target]) {
    let grown = std::env::var_os("OUTRIGGER_CORPUS");
    let corpus = grown
        .as_ref()
        .map_or_else(|| Path::new(manifest).join("corpus"), Into::into);
    let only = std::env::var("OUTRIGGER_TARGET").ok();
    for (name, target) in targets {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let folder = corpus.join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("an entry").path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
        for path in inputs {
            let input = fs::read(&path).expect("an input");
            // The harness shows this where the input fails.
            println!("{}", path.display());
            watched(*target, &input);
        }
    }
}
