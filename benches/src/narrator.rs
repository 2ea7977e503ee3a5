//! What people are told while it runs.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Tells people what happens, or keeps silent where a machine listens.
#[derive(Debug)]
pub(crate) struct Narrator {
    silent: bool,
}

impl Narrator {
    pub(crate) const fn new(silent: bool) -> Self {
        Self { silent }
    }

    pub(crate) fn say(&self, text: &str) {
        if !self.silent {
            say!("{text}");
        }
    }

    /// A progress bar to `end`, with this template of indicatif's; at anything but a terminal, one plain line.
    pub(crate) fn progress(&self, what: &str, end: u64, template: &str) -> ProgressBar {
        if self.silent || !std::io::stderr().is_terminal() {
            self.say(what);
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(end).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.tick();
        bar
    }
}
