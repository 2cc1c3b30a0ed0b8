//! What runs, as the supervisor itself tells it.

use super::{Output, failure};
use crate::cli::output::bytes;
use crate::cli::{Exit, Failure, Outcome};
use crate::home::Home;
use crate::supervise::client::{Found, look};
use crate::supervise::control::{ComponentStatus, Status};
use serde::Serialize;

#[derive(Serialize)]
struct UpReport<'a> {
    running: bool,
    ready: bool,
    #[serde(flatten)]
    status: &'a Status,
}

#[derive(Serialize)]
struct DownReport<'a> {
    running: bool,
    crashed: bool,
    last_sign_of_life: Option<&'a str>,
    home: String,
}

pub(super) fn run(home: &Home, output: Output) -> Outcome {
    match look(home) {
        Found::Up(status) => {
            if output.is_json() {
                output.json(&UpReport { running: true, ready: status.is_ready(), status: &status })?;
            } else {
                show(&status, output)?;
            }
            Ok(0)
        }
        Found::Hung { pid } => Err(failure::hung(pid)),
        Found::Barred { pid, error } => Err(failure::barred(pid, error)),
        Found::Absent => down(home, None, output),
        Found::Crashed { state, last_sign } => {
            let time = last_sign.map(|time| humantime::format_rfc3339_seconds(time).to_string());
            let words = format!(
                "the supervisor (process {}, started {}) crashed or was killed; last sign of life {}",
                state.identity.pid,
                state.since,
                time.as_deref().unwrap_or("unknown")
            );
            down(home, Some((words, time)), output)
        }
    }
}

fn down(home: &Home, crash: Option<(String, Option<String>)>, output: Output) -> Outcome {
    if output.is_json() {
        output.json(&DownReport {
            running: false,
            crashed: crash.is_some(),
            last_sign_of_life: crash.as_ref().and_then(|(_, time)| time.as_deref()),
            home: home.root().display().to_string(),
        })?;
    } else {
        output.line("stigmer does not run")?;
        if let Some((words, _)) = crash {
            output.note(format_args!("  note: {words}"));
        }
        output.note(format_args!(
            "   {} `stigmer server` starts it",
            console::style("hint:").cyan().for_stderr()
        ));
    }
    Ok(Exit::NotRunning as u8)
}

fn show(status: &Status, output: Output) -> Result<(), Failure> {
    let head = match (&status.url, status.stopping) {
        (_, true) => "stigmer is stopping".to_owned(),
        (Some(url), false) if status.is_ready() => format!("stigmer is up at {url}"),
        (Some(url), false) => format!("stigmer runs at {url}, but not everything is ready"),
        (None, false) => "stigmer is starting".to_owned(),
    };
    output.line(head)?;
    let rows = std::iter::once(HEADINGS.map(str::to_owned))
        .chain(std::iter::once(supervisor_row(status)))
        .chain(status.components.iter().map(row))
        .collect::<Vec<_>>();
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for cells in &rows {
        let line = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect::<Vec<_>>()
            .join("  ");
        output.line(line.trim_end())?;
    }
    for component in &status.components {
        if let Some(exit) = &component.last_exit {
            output.line(format_args!("last exit of {}: {}, {}", component.name, exit.reason, exit.time))?;
        }
    }
    output.line(format_args!("home:       {}", status.home))?;
    output.line(format_args!("executable: {} ({})", status.executable, status.version))?;
    output.line(format_args!("instance:   {}", status.instance))?;
    if let Some(local) = &status.local_binary {
        output.line(format_args!("agent:      {local} (local)"))?;
    }
    output.line(format_args!(
        "logs:       `stigmer server logs`, in {}",
        std::path::Path::new(&status.home).join("logs").display()
    ))?;
    Ok(())
}

const HEADINGS: [&str; 8] = ["COMPONENT", "PHASE", "PID", "PORT", "SINCE", "RESTARTS", "MEMORY", "VERSION"];

fn supervisor_row(status: &Status) -> [String; 8] {
    [
        "supervisor".to_owned(),
        if status.stopping { "stopping" } else { "running" }.to_owned(),
        status.pid.to_string(),
        dash(None::<u16>),
        status.since.clone(),
        dash(None::<u32>),
        dash(status.memory_bytes.map(bytes)),
        status.version.clone(),
    ]
}

fn row(component: &ComponentStatus) -> [String; 8] {
    [
        component.name.clone(),
        component.phase.name().to_owned(),
        dash(component.pid),
        dash(component.address.map(|address| address.port())),
        component.since.clone(),
        component.restarts.to_string(),
        dash(component.memory_bytes.map(bytes)),
        dash(component.version.clone()),
    ]
}

fn dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
