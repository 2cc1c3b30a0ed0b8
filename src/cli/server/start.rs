//! Starting, with every phase shown while it happens.

use super::{Failure, Output, stop};
use crate::cli::Outcome;
use crate::cli::progress::Shown;
use crate::component;
use crate::config::Config;
use crate::home::Home;
use crate::store::Depth;
use crate::supervise::client::{Found, look};
use crate::supervise::control::Status;
use crate::supervise::environment::Environment;
use crate::supervise::launch::{self, StartRequest, Started};
use crate::supervise::lifecycle::Phase;
use crate::supervise::{LaunchEvent, SuperviseError};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Serialize)]
struct StartReport<'a> {
    already_running: bool,
    differences: &'a [String],
    #[serde(flatten)]
    status: &'a Status,
}

pub(super) fn start(home: &Home, request: &StartRequest, output: Output) -> Outcome {
    let began = Instant::now();
    let mut progress = Progress::new(output);
    let started = launch::start(home, request, &Shown::new(output), &mut |event| progress.show(event));
    progress.clear();
    match started? {
        Started::New(status) => {
            if output.is_json() {
                report(output, &status, None)?;
            } else {
                let url = status.url.as_deref().unwrap_or_default();
                output.note(format_args!("  all ready after {} ms", began.elapsed().as_millis()));
                output.line(format_args!("stigmer is up at {url}"))?;
            }
        }
        Started::Already { status, differences } => {
            if output.is_json() {
                report(output, &status, Some(&differences))?;
            } else {
                already(&status, &differences, output)?;
            }
        }
    }
    Ok(0)
}

fn report(output: Output, status: &Status, already: Option<&[String]>) -> Result<(), Failure> {
    Ok(output.json(&StartReport {
        already_running: already.is_some(),
        differences: already.unwrap_or_default(),
        status,
    })?)
}

fn already(status: &Status, differences: &[String], output: Output) -> Result<(), Failure> {
    let url = status.url.as_deref().unwrap_or("an address not known yet");
    output.line(format_args!(
        "stigmer runs already at {url} (process {}, since {})",
        status.pid, status.since
    ))?;
    for component in status.components.iter().filter(|c| c.phase != Phase::Ready) {
        output.note(format_args!("  {} is not ready", component.name));
    }
    for difference in differences {
        output.note(format_args!("  note: {difference}"));
    }
    if !differences.is_empty() {
        let hint = console::style("hint:").cyan().for_stderr();
        output.note(format_args!("   {hint} `stigmer server restart`, with the same options, makes it so"));
    }
    Ok(())
}

/// Stops what runs and starts again; what the person does not say stays as it was.
pub(super) fn restart(home: &Home, mut request: StartRequest, output: Output) -> Outcome {
    if let Found::Up(status) = look(home) {
        request.port = request.port.or_else(|| Some(bound_port(&status)));
        request.local = request.local.or_else(|| status.local_binary.map(Into::into));
    }
    // What would keep it from starting again is found out while it still runs.
    Environment::for_agent_runner(home, &Config::read(home)?).map_err(SuperviseError::from)?;
    let local = request.local.as_deref();
    drop(component::resolve(home, launch::AGENT_RUNNER, local, Depth::Evidence, &Shown::new(output))?);
    stop::stop(home, output)?;
    start(home, &request, output)
}

/// The port in use: clients know it, also if it was chosen by the system.
fn bound_port(status: &Status) -> u16 {
    status
        .components
        .iter()
        .find_map(|component| component.address)
        .map_or(status.port, |address| address.port())
}

/// One line per component: on a terminal a line that moves until it is settled, else plain lines.
struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    waiting: Vec<String>,
}

impl Progress {
    fn new(output: Output) -> Self {
        let bar = (output.is_watched() && !output.is_json()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { output, bar, waiting: Vec::new() }
    }

    fn show(&mut self, event: &LaunchEvent) {
        match event {
            LaunchEvent::Preparing => self.wait_for("preparing agent-runner"),
            LaunchEvent::Listening { .. } => self.wait_for("starting the supervisor"),
            LaunchEvent::Starting { component } => {
                self.waiting.push(component.clone());
                self.refresh();
            }
            LaunchEvent::Ready { component, address, millis } => {
                self.waiting.retain(|name| name != component);
                let mark = console::style("✓").green().for_stderr();
                let place = address.map(|address| format!("{address}, ")).unwrap_or_default();
                self.settle(&format!("{mark} {component} ready ({place}{millis} ms)"));
                self.refresh();
            }
            LaunchEvent::Up(_) | LaunchEvent::Failed(_) => {}
        }
    }

    fn wait_for(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    fn refresh(&self) {
        if !self.waiting.is_empty() {
            self.wait_for(&format!("waiting for {}", self.waiting.join(", ")));
        }
    }

    fn settle(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.note(line)),
            None if !self.output.is_json() => self.output.note(line),
            None => {}
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
