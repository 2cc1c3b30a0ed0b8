//! Starting in the background, and what is said when it is done.

use super::phases::Phases;
use super::{Failure, Output, service, stop};
use crate::cli::progress::Shown;
use crate::cli::{Exit, Outcome};
use crate::config::Config;
use crate::home::Home;
use crate::supervise::LaunchEvent;
use crate::supervise::SuperviseError;
use crate::supervise::client::{Found, Manner, look};
use crate::supervise::components::Components;
use crate::supervise::control::Status;
use crate::supervise::environment;
use crate::supervise::launch::{self, StartRequest, Started};
use crate::supervise::lifecycle::Phase;
use crate::supervise::port;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

#[derive(Serialize)]
struct StartReport<'a> {
    already_running: bool,
    ready: bool,
    differences: &'a [String],
    #[serde(flatten)]
    status: &'a Status,
}

pub(super) fn start(
    home: &Home,
    components: Components,
    request: &StartRequest,
    wait: bool,
    output: Output,
) -> Outcome {
    let began = Instant::now();
    let mut phases = Phases::new(output);
    let has_begun = Arc::new(AtomicBool::new(false));
    explain_interrupt(has_begun.clone(), output);
    let started = launch::start(home, components, request, wait, &Shown::new(output), &mut |event| {
        has_begun.store(!matches!(event, LaunchEvent::Preparing { .. }), Ordering::SeqCst);
        phases.show(event);
    });
    phases.clear();
    match started? {
        Started::New(status) => {
            if output.is_json() {
                report(output, &status, None)?;
            } else if !status.is_ready() {
                output.line(format_args!("stigmer is starting (process {})", status.pid))?;
                output.hint("`stigmer server status` says how far it is, or why it failed");
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

/// Says what an interrupt from the keyboard means: it ends the wait, but not a start that has begun, which is no part of this
/// terminal.
fn explain_interrupt(has_begun: Arc<AtomicBool>, output: Output) {
    /// What shells make of an end by `SIGINT`.
    const INTERRUPTED: i32 = 130;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without one, an interrupt ends the wait silently.
    let Ok(runtime) = runtime else { return };
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
            return;
        }
        // Behind what the terminal has echoed.
        output.note("");
        if has_begun.load(Ordering::SeqCst) {
            output.note("interrupted; the start goes on");
            output.hint("`stigmer server status` says how far it is, `stigmer server stop` ends it");
        } else {
            output.note("interrupted; nothing was started");
        }
        #[expect(clippy::exit, reason = "the thread that waits for the start cannot be ended otherwise")]
        std::process::exit(INTERRUPTED);
    });
}

pub(super) fn report(output: Output, status: &Status, already: Option<&[String]>) -> Result<(), Failure> {
    Ok(output.json(&StartReport {
        already_running: already.is_some(),
        ready: status.is_ready(),
        differences: already.unwrap_or_default(),
        status,
    })?)
}

fn already(status: &Status, differences: &[String], output: Output) -> Result<(), Failure> {
    let url = status.url.as_deref().unwrap_or("an address not known yet");
    output.line(format_args!(
        "stigmer is already running at {url} (process {}, since {})",
        status.pid, status.since
    ))?;
    for component in status.components.iter().filter(|c| c.phase != Phase::Ready) {
        output.note(format_args!("  {} is not ready", component.name));
    }
    for difference in differences {
        output.note(format_args!("  note: {difference}"));
    }
    if !differences.is_empty() {
        output.hint("`stigmer server restart`, with the same options, makes it so");
    }
    Ok(())
}

/// Stops what runs and starts again; what the person does not say stays as it was.
pub(super) fn restart(
    home: &Home,
    components: Components,
    mut request: StartRequest,
    output: Output,
) -> Outcome {
    let service = service::runs(home);
    if service && (request.port.is_some() || !request.local.is_empty()) {
        return Err(Failure::new(Exit::Usage, "the platform runs as a service, which takes no options")
            .hint("set the port in config.toml; `stigmer server uninstall-service` ends the service"));
    }
    if let Found::Up(status) = look(home) {
        request.port = request.port.or_else(|| Some(bound_port(&status)));
        for (name, path) in status.local_binaries(components.bundled().next().map(|spec| spec.name)) {
            request.local.entry(name).or_insert(path);
        }
    }
    // What would keep it from starting again is found out while it still runs.
    if let (Some(port), Found::Up(status)) = (request.port, look(home))
        && port != bound_port(&status)
    {
        port::check(port, components).map_err(SuperviseError::from)?;
    }
    let settings = Config::read(home)?;
    environment::gather(home, &settings, components).map_err(SuperviseError::from)?;
    launch::check_room(home)?;
    drop(launch::resolve(home, &settings, components, &request.local, &Shown::new(output), &mut |_| {})?);
    if service {
        service::restart()?;
        // Its manager has started it, and this reports so.
        let request = StartRequest { port: None, local: BTreeMap::new() };
        return start(home, components, &request, true, output);
    }
    stop::stop(home, "server restart", Manner::Asked, output)?;
    start(home, components, &request, true, output)
}

/// The port in use: clients know it, also if it was chosen by the system.
pub(super) fn bound_port(status: &Status) -> u16 {
    status
        .components
        .iter()
        .find_map(|component| component.address)
        .map_or(status.port, |address| address.port())
}
