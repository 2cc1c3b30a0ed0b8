//! That nothing runs, and what is known about the end of what ran last.

use super::Output;
use crate::cli::time::ago;
use crate::cli::{Exit, Failure, Outcome};
use crate::home::Home;
use crate::supervise::components::Components;
use crate::supervise::last_end::{LastEnd, Why};
use crate::supervise::logs;
use crate::supervise::state::ServerState;
use crate::supervise::{SUPERVISOR, StartFailure};
use serde::Serialize;
use std::time::SystemTime;

/// Number of log lines that are shown after a crash.
const LAST_LINES: usize = 5;

#[derive(Serialize)]
struct DownReport<'a> {
    running: bool,
    ready: bool,
    /// `stopped`, `crashed` or `start-failed`.
    state: &'a str,
    crashed: bool,
    last_sign_of_life: Option<&'a str>,
    last_end: Option<&'a LastEnd>,
    last_words: Vec<logs::Line>,
    home: String,
}

/// Nothing runs, and nothing is left of what ran.
pub(super) fn absent(home: &Home, output: Output) -> Outcome {
    let end = LastEnd::read(home);
    let state = match end.as_ref().map(|end| &end.why) {
        Some(Why::StartFailed { .. }) => "start-failed",
        Some(Why::Crashed) => "crashed",
        Some(Why::Asked { .. } | Why::Signal { .. }) | None => "stopped",
    };
    if output.is_json() {
        let crashed = state == "crashed";
        report(home, output, DownReport { state, crashed, last_end: end.as_ref(), ..DownReport::new() })?;
        return Ok(Exit::NotRunning as u8);
    }
    output.line("stigmer is not running")?;
    let mut start = "`stigmer server` starts it".to_owned();
    if let Some(end) = &end {
        let when = ago(&end.time);
        match &end.why {
            Why::Asked { by: Some(by) } => output.note(format_args!("  `stigmer {by}` stopped it {when} ago")),
            Why::Asked { by: None } => output.note(format_args!("  it was stopped {when} ago")),
            Why::Signal { signal } => output.note(format_args!("  {signal} stopped it {when} ago")),
            Why::Crashed => output.note(format_args!(
                "  note: it crashed or was killed; the last sign of life was {when} ago, and what was left of it has been ended"
            )),
            Why::StartFailed { failure } => {
                failed(failure, &when, output);
                let component = &failure.component;
                start = format!("mend that and start again; `stigmer server logs --component {component}` shows all it said");
            }
        }
    }
    output.hint(&start);
    Ok(Exit::NotRunning as u8)
}

fn failed(failure: &StartFailure, when: &str, output: Output) {
    let who = match failure.component.as_str() {
        SUPERVISOR => "the supervisor could not start the platform".to_owned(),
        component => format!("{component} did not start"),
    };
    output.note(format_args!("  the last start failed {when} ago: {who}: {}", failure.reason));
    for line in failure.log.iter().rev().take(LAST_LINES).rev() {
        output.note(format_args!("  log: {line}"));
    }
    if let Some(words) = &failure.hint {
        output.hint(words);
    }
}

/// The supervisor is gone, and did not say goodbye.
pub(super) fn crashed(
    home: &Home,
    components: Components,
    state: &ServerState,
    last_sign: Option<SystemTime>,
    output: Output,
) -> Outcome {
    let time = last_sign.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    let last_words = logs::tail(&logs::files(&home.logs(), components), LAST_LINES).unwrap_or_default();
    if output.is_json() {
        let last_sign_of_life = time.as_deref();
        let down = DownReport {
            state: "crashed",
            crashed: true,
            last_sign_of_life,
            last_words,
            ..DownReport::new()
        };
        report(home, output, down)?;
        return Ok(Exit::NotRunning as u8);
    }
    output.line("stigmer is not running")?;
    output.note(format_args!(
        "  note: the supervisor (process {}, started {} ago) crashed or was killed; last sign of life {}",
        state.identity.pid,
        ago(&state.since),
        time.as_deref().map_or("unknown".to_owned(), |time| format!("{} ago", ago(time)))
    ));
    for line in last_words {
        output.note(format_args!("  log: {}: {}", line.component, line.text));
    }
    output.hint("`stigmer server` starts it, and ends what may be left of it first");
    Ok(Exit::NotRunning as u8)
}

fn report(home: &Home, output: Output, down: DownReport) -> Result<(), Failure> {
    Ok(output.json(&DownReport { home: home.root().display().to_string(), ..down })?)
}

impl DownReport<'_> {
    fn new() -> Self {
        Self {
            running: false,
            ready: false,
            state: "stopped",
            crashed: false,
            last_sign_of_life: None,
            last_end: None,
            last_words: Vec::new(),
            home: String::new(),
        }
    }
}
