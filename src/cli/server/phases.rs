//! The phases of a start, shown while they happen: on a terminal a line per component that moves until it is settled, else a
//! plain line for each that is ready.

use super::Output;
use crate::supervise::LaunchEvent;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::time::Duration;

/// What is shown of a start.
pub(super) struct Phases {
    output: Output,
    /// All that moves; `None` if nobody watches.
    moving: Option<MultiProgress>,
    /// What goes on now, by the name of the component, or none for what comes before all components.
    lines: Vec<(String, ProgressBar)>,
}

impl Phases {
    /// Shown on a terminal as it happens.
    pub(super) fn new(output: Output) -> Self {
        let moving = (output.is_watched() && !output.is_json()).then(MultiProgress::new);
        Self { output, moving, lines: Vec::new() }
    }

    /// Never moving: other things are printed on the same terminal.
    pub(super) fn still(output: Output) -> Self {
        Self { output, moving: None, lines: Vec::new() }
    }

    pub(super) fn show(&mut self, event: &LaunchEvent) {
        match event {
            LaunchEvent::Preparing { component } => self.begin("", &format!("preparing {component}")),
            LaunchEvent::Listening { .. } => self.begin("", "starting the supervisor"),
            LaunchEvent::Starting { component } => {
                self.end("");
                self.begin(component, &format!("{component} is starting"));
            }
            LaunchEvent::Ready { component, address, millis } => {
                // First the line that moves goes, so that it is not drawn once more below the one that takes its place.
                self.end(component);
                let mark = console::style("✓").green().for_stderr();
                let place = address.map(|address| format!("{address}, ")).unwrap_or_default();
                self.settle(&format!("{mark} {component} ready ({place}{millis} ms)"));
            }
            LaunchEvent::Stopping { waiting_for } => {
                self.clear();
                if !waiting_for.is_empty() {
                    self.begin("", &format!("stopping {}", waiting_for.join(", ")));
                }
            }
            LaunchEvent::Up(_) | LaunchEvent::Failed(_) => self.clear(),
        }
    }

    /// Leaves nothing on the terminal that moves.
    pub(super) fn clear(&mut self) {
        for (_, line) in self.lines.drain(..) {
            line.finish_and_clear();
        }
    }

    fn begin(&mut self, name: &str, text: &str) {
        self.end(name);
        let Some(moving) = &self.moving else { return };
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            line.set_style(style);
        }
        let line = moving.add(line.with_message(text.to_owned()));
        line.enable_steady_tick(Duration::from_millis(100));
        self.lines.push((name.to_owned(), line));
    }

    fn end(&mut self, name: &str) {
        self.lines.retain(|(known, line)| {
            if known == name {
                line.finish_and_clear();
            }
            known != name
        });
    }

    fn settle(&self, text: &str) {
        match &self.moving {
            Some(moving) => moving.suspend(|| self.output.note(text)),
            None if !self.output.is_json() => self.output.note(text),
            None => {}
        }
    }
}
