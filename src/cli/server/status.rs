//! What runs, as the supervisor itself tells it; or what ran, and how it ended.

use super::{Output, down, failure};
use crate::cli::output::{bytes, dash};
use crate::cli::time::{ago, short};
use crate::cli::{Failure, Outcome};
use crate::home::Home;
use crate::supervise::client::{Found, look};
use crate::supervise::components::Components;
use crate::supervise::control::{ComponentStatus, Status};
use crate::supervise::lifecycle::Phase;
use crate::supervise::skew::{self, Skew};
use serde::Serialize;
use std::time::SystemTime;

#[derive(Serialize)]
struct UpReport<'a> {
    running: bool,
    ready: bool,
    differs: Option<Skew>,
    #[serde(flatten)]
    status: &'a Status,
}

pub(super) fn run(home: &Home, components: Components, output: Output) -> Outcome {
    match look(home) {
        Found::Up(status) => {
            let differs = skew::compare(&status);
            if output.is_json() {
                output.json(&UpReport {
                    running: true,
                    ready: status.is_ready(),
                    differs,
                    status: &status,
                })?;
            } else {
                show(&status, output)?;
                advise(&status, differs.as_ref(), output);
            }
            Ok(0)
        }
        Found::Hung { pid } => Err(failure::hung(pid)),
        Found::Barred { pid, error } => Err(failure::barred(pid, error)),
        Found::Absent => down::absent(home, output),
        Found::Crashed { state, last_sign } => down::crashed(home, components, &state, last_sign, output),
    }
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
    output.table(&rows)?;
    for component in &status.components {
        if let Some(why) = &component.not_ready {
            output.line(format_args!(
                "{} is {}: {why}{}",
                component.name,
                component.phase.name(),
                next(component)
            ))?;
        } else if let Some(exit) = &component.last_exit {
            let loops = if component.crash_looping { ", too often lately" } else { "" };
            let when = ago(&exit.time);
            output.line(format_args!("{} last ended {when} ago{loops}: {}", component.name, exit.reason))?;
        }
    }
    output.line(format_args!("home:       {}", status.home))?;
    output.line(format_args!("executable: {} ({})", status.executable, status.version))?;
    output.line(format_args!("instance:   {}", status.instance))?;
    for component in &status.components {
        let name = &component.name;
        if let Some(published) = &component.published_as {
            let payload = component.payload.as_deref().unwrap_or_default();
            output.line(format_args!("local:      {name}, published as `{published}`, payload {payload}"))?;
        } else if let Some(local) = &component.local_binary {
            output.line(format_args!("local:      {name} is {local}"))?;
        }
    }
    output.line(format_args!(
        "logs:       `stigmer server logs`, in {}",
        std::path::Path::new(&status.home).join("logs").display()
    ))?;
    Ok(())
}

/// What to do about what is not as it should be.
fn advise(status: &Status, differs: Option<&Skew>, output: Output) {
    for component in &status.components {
        let log = format!("`stigmer server logs --component {}` shows what it said", component.name);
        match component.phase {
            Phase::Failed => {
                output.hint(format_args!("{log}; mend that, then `stigmer server restart`"));
            }
            Phase::CrashLooping | Phase::Restarting | Phase::Unresponsive => {
                output.hint(log);
            }
            Phase::Waiting | Phase::Starting | Phase::Ready | Phase::Stopping | Phase::Stopped => {}
        }
    }
    if let Some(skew) = differs {
        output.note(format_args!("  note: {}", skew.words()));
        output.hint("`stigmer server restart` moves over to this one");
    }
}

/// When it is started again, if it waits for that.
fn next(component: &ComponentStatus) -> String {
    let left = component
        .next_start
        .as_ref()
        .and_then(|time| humantime::parse_rfc3339(time).ok())
        .map(|time| time.duration_since(SystemTime::now()).unwrap_or_default());
    left.map(|left| format!("; it is tried again in {}", short(left.as_secs() + 1))).unwrap_or_default()
}

const HEADINGS: [&str; 8] = ["COMPONENT", "PHASE", "FOR", "PID", "PORT", "RESTARTS", "MEMORY", "VERSION"];

fn supervisor_row(status: &Status) -> [String; 8] {
    [
        "supervisor".to_owned(),
        if status.stopping { "stopping" } else { "running" }.to_owned(),
        ago(&status.since),
        status.pid.to_string(),
        dash(None::<u16>),
        dash(None::<u32>),
        dash(status.memory_bytes.map(bytes)),
        status.version.clone(),
    ]
}

fn row(component: &ComponentStatus) -> [String; 8] {
    let digest = component.payload.as_ref().and_then(|digest| digest.get(..8));
    let version = match (&component.version, digest) {
        (Some(version), Some(digest)) => Some(format!("{version} ({digest})")),
        (version, _) => version.clone(),
    };
    [
        component.name.clone(),
        component.phase.name().to_owned(),
        ago(&component.since),
        dash(component.pid),
        dash(component.port),
        component.restarts.to_string(),
        dash(component.memory_bytes.map(bytes)),
        dash(version),
    ]
}
