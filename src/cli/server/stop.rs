//! Stopping, and saying whom it waits for.

use super::{Failure, Output, failure};
use crate::cli::{Exit, Outcome};
use crate::home::Home;
use crate::supervise::client::{self, Found, Manner};
use crate::supervise::skew;
use crate::supervise::state::ServerState;
use serde::Serialize;
use std::time::Instant;

/// Remark on the first component that is waited for.
const NOW_HINT: &str = "; what takes too long is killed (`stigmer server stop --now` does not wait)";

#[derive(Serialize)]
struct StopReport {
    was_running: bool,
    millis: u64,
}

pub(super) fn run(home: &Home, now: bool, output: Output) -> Outcome {
    let began = Instant::now();
    let (by, manner) = if now { ("server stop --now", Manner::Now) } else { ("server stop", Manner::Asked) };
    let was_running = stop(home, by, manner, output)?;
    if output.is_json() {
        output.json(&StopReport {
            was_running,
            millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })?;
    } else if was_running {
        output.line(format_args!("stopped ({} ms)", began.elapsed().as_millis()))?;
    } else {
        output.line("nothing runs")?;
    }
    Ok(0)
}

/// Stops what runs, on behalf of the command `by`; `false` if nothing did.
pub(super) fn stop(home: &Home, by: &str, manner: Manner, output: Output) -> Result<bool, Failure> {
    // It may still be ending; the first look tells hung from not running.
    let Some(state) = ServerState::read(home) else {
        return match client::look(home) {
            Found::Hung { pid } if manner == Manner::Now => {
                output.note(format_args!(
                    "the supervisor (process {pid}) left no word of itself and is killed"
                ));
                client::end_nameless(home, pid, by)?;
                Ok(true)
            }
            Found::Hung { pid } => Err(failure::hung_unknown(pid)),
            Found::Barred { pid, error } => Err(failure::barred(pid, error)),
            _ => {
                client::tidy(home);
                Ok(false)
            }
        };
    };
    match client::look(home) {
        Found::Absent => return Ok(state.identity.is_alive() && wait(&state)?),
        Found::Crashed { .. } => return Ok(client::end_remains(home)?),
        Found::Hung { pid } | Found::Barred { pid: Some(pid), .. }
            if manner == Manner::Now && pid == state.identity.pid =>
        {
            output.note(format_args!("the supervisor (process {pid}) does not answer and is killed"));
            client::end_hung(home, &state, by)?;
            return Ok(true);
        }
        Found::Hung { pid } => return Err(failure::hung(pid)),
        Found::Barred { pid, error } => return Err(failure::barred(pid, error)),
        Found::Up(status) => {
            if let Some(skew) = skew::compare(&status).filter(|_| !output.is_json()) {
                output.note(format_args!("note: {}", skew.words()));
            }
        }
    }
    // The first answer comes at once, and is worth a line only if it is not the only one; after that, each that is another one.
    let mut said: Option<String> = None;
    let asked = client::stop(home, &state, by, manner, |waiting_for| {
        let names = waiting_for.join(", ");
        match &said {
            Some(last) if !names.is_empty() && *last != names && !output.is_json() => {
                let hint = if last.is_empty() { NOW_HINT } else { "" };
                output.note(format_args!("waiting for {names}{hint}"));
                said = Some(names);
            }
            Some(_) => {}
            None => said = Some(String::new()),
        }
    });
    match asked {
        Ok(()) => Ok(true),
        // It went away between two questions, as it was going to.
        Err(_) if !state.identity.is_alive() => Ok(true),
        Err(error) => Err(Failure::from_error(Exit::Failed, &error)
            .cause(format!("the supervisor is process {}", state.identity.pid))
            .hint("`stigmer server status` says what still runs; `stigmer server stop --now` ends it")),
    }
}

fn wait(state: &ServerState) -> Result<bool, Failure> {
    if state.identity.wait_for_end(std::time::Duration::from_secs(10)) {
        Ok(true)
    } else {
        Err(failure::hung(state.identity.pid))
    }
}
