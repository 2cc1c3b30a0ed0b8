//! What runs: the supervisor, its components, the port.

use super::Check;
use crate::config::Config;
use crate::home::Home;
use crate::supervise::client::{self, Found};
use crate::supervise::components::Components;
use crate::supervise::control::Status;
use crate::supervise::last_end::{LastEnd, Why};
use crate::supervise::lifecycle::Phase;
use crate::supervise::port::{self, PortHolder};
use crate::supervise::skew;
use std::net::{Ipv4Addr, TcpListener};

pub(super) fn look(home: &Home, components: Components, checks: &mut Vec<Check>) {
    match client::look(home) {
        Found::Up(status) => {
            checks.push(server(&status));
            checks.extend(readiness(&status));
        }
        Found::Absent => {
            checks.push(absent(home));
            checks.push(port(home, components));
        }
        Found::Crashed { state, .. } => {
            checks.push(Check::warning(
                "server",
                format!("its supervisor (process {}) crashed or was killed", state.identity.pid),
                "`stigmer server` starts it again; `stigmer server logs --component supervisor` shows its last words",
            ));
            checks.push(port(home, components));
        }
        Found::Hung { pid } => checks.push(Check::problem(
            "server",
            format!("its supervisor (process {pid}) does not answer: it hangs or is suspended"),
            format!(
                "`kill -CONT {pid}` wakes it if it is suspended; else `stigmer server stop --now` ends it"
            ),
        )),
        Found::Barred { pid: None, error } => checks.push(Check::problem(
            "server",
            format!("it cannot be told whether it runs: {error}"),
            "check who owns that file; ask as the user who started it",
        )),
        Found::Barred { pid: Some(pid), error } => checks.push(Check::problem(
            "server",
            format!("its supervisor (process {pid}) runs and cannot be asked: {error}"),
            "check who owns that file; `stigmer server stop --now` ends the supervisor without asking",
        )),
    }
}

/// Nothing runs. If that is so because the last start failed, it is no accident.
fn absent(home: &Home) -> Check {
    match LastEnd::read(home).map(|end| end.why) {
        Some(Why::StartFailed { failure }) => Check::warning(
            "server",
            format!("not running; the last start failed: {}: {}", failure.component, failure.reason),
            failure.hint.unwrap_or_else(|| {
                "`stigmer server status` says more of it; mend that and start again".to_owned()
            }),
        ),
        _ => Check::ok("server", "not running; `stigmer server` starts it"),
    }
}

fn server(status: &Status) -> Check {
    let place = status.url.as_deref().unwrap_or("no address yet");
    let detail = format!("runs as process {} at {place} ({})", status.pid, status.version);
    match skew::compare(status) {
        None => Check::ok("server", detail),
        Some(skew) => Check::warning(
            "server",
            format!("{detail}; {}", skew.words()),
            "`stigmer server restart` moves over to this one",
        ),
    }
}

fn readiness(status: &Status) -> impl Iterator<Item = Check> + '_ {
    status.components.iter().map(|component| {
        let name = &component.name;
        match component.phase {
            Phase::Ready => Check::ok("component", format!("{name} is ready")),
            Phase::Waiting | Phase::Starting | Phase::Stopping | Phase::Stopped => {
                Check::ok("component", format!("{name} is not ready: the platform is starting or stopping"))
            }
            Phase::Restarting | Phase::CrashLooping | Phase::Unresponsive | Phase::Failed => {
                let why = match component.phase {
                    Phase::Unresponsive => "it lives, and does not answer",
                    _ => component.last_exit.as_ref().map_or("it ended", |exit| exit.reason.as_str()),
                };
                Check::problem(
                    "component",
                    format!("{name} does not work: {why}"),
                    format!("`stigmer server logs --component {name}` shows what it said"),
                )
            }
        }
    })
}

/// Whether the server could listen where it is to listen.
fn port(home: &Home, components: Components) -> Check {
    let port = Config::read(home).unwrap_or_default().server.port;
    if port == 0 {
        return Check::ok("port", "any that is free");
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Check::ok("port", format!("{port} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let next = "`stigmer server --port N` takes another one, `port = N` in config.toml for ever";
            match port::holder(port, components) {
                None => Check::problem("port", format!("{port} is in use by another process"), next),
                Some(PortHolder { pid, home: Some(other), .. }) => Check::problem(
                    "port",
                    format!("{port} is in use by process {pid}: the stigmer server of `{other}`"),
                    format!("{next}; or `STIGMER_HOME='{other}' stigmer server stop`"),
                ),
                Some(PortHolder { pid, command, .. }) => Check::problem(
                    "port",
                    format!(
                        "{port} is in use by process {pid}: {}",
                        command.chars().take(80).collect::<String>()
                    ),
                    next,
                ),
            }
        }
        Err(error) => Check::problem(
            "port",
            format!("the server may not listen on {port}: {error}"),
            "choose a port above 1023 with `stigmer server --port N`",
        ),
    }
}
