//! What the store does, shown on a terminal; a line each for what a person should know even without one.

use super::Output;
use crate::lock::Holder;
use crate::store::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::time::Duration;

/// Shows progress on standard error.
#[derive(Debug)]
pub(super) struct Shown {
    output: Output,
    bar: Mutex<Option<ProgressBar>>,
}

impl Shown {
    pub(super) fn new(output: Output) -> Self {
        Self { output, bar: Mutex::new(None) }
    }

    fn with_bar(&self, f: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.bar.lock() {
            f(&mut bar);
        }
    }
}

impl Progress for Shown {
    fn waiting(&self, holder: &Holder, at_most: Duration) {
        self.output.note(format_args!("waiting for {holder}, at most {} s", at_most.as_secs()));
    }

    fn begin(&self, what: &str, bytes: u64) {
        if !self.output.is_watched() {
            return;
        }
        let style =
            ProgressStyle::with_template("{msg:>14} [{bar:32}] {decimal_bytes}/{decimal_total_bytes}");
        let fresh =
            ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        fresh.set_message(what.to_owned());
        self.with_bar(|bar| *bar = Some(fresh));
    }

    fn advance(&self, bytes: u64) {
        self.with_bar(|bar| {
            if let Some(bar) = bar {
                bar.inc(bytes);
            }
        });
    }

    fn end(&self) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn notice(&self, text: &str) {
        self.output.note(format_args!("note: {text}"));
    }
}
