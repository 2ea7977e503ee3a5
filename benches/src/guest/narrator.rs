//! What people are told while it runs.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Tells people what happens, or keeps silent where a machine listens.
#[derive(Debug)]
pub(super) struct Narrator {
    silent: bool,
}

impl Narrator {
    pub(super) const fn new(silent: bool) -> Self {
        Self { silent }
    }

    pub(super) fn say(&self, text: &str) {
        if !self.silent {
            println!("{text}");
        }
    }

    /// A progress bar over the jobs of a round; at anything but a terminal, one plain line.
    pub(super) fn progress(&self, what: &str, jobs: usize) -> ProgressBar {
        if self.silent || !std::io::stderr().is_terminal() {
            self.say(what);
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(jobs as u64).with_message(what.to_owned());
        if let Ok(style) =
            ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len} jobs {elapsed}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.tick();
        bar
    }
}
