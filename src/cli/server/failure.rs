//! What can go wrong with the platform, in words for people.

use crate::cli::{Exit, Failure};
use crate::supervise::port::PortError;
use crate::supervise::{SUPERVISOR, StartFailure, SuperviseError};

impl From<SuperviseError> for Failure {
    fn from(error: SuperviseError) -> Self {
        match error {
            SuperviseError::Io(error) => error.into(),
            SuperviseError::Config(error) => error.into(),
            SuperviseError::Component(error) => error.into(),
            SuperviseError::Environment(error) => {
                let hint = error.hint();
                Self::from_error(Exit::Config, &error).hint(hint)
            }
            SuperviseError::NotUnicode(_) => {
                Self::from_error(Exit::Config, &error).hint("use a path whose name is plain text")
            }
            SuperviseError::Port(PortError::Taken { ref holder, port }) => {
                let failure = Self::from_error(Exit::Busy, &error)
                    .hint("choose another port with `stigmer server --port N`, or 0 for any that is free");
                match holder.as_ref().and_then(|holder| holder.home.as_ref()) {
                    Some(home) => failure.hint(format!(
                        "or stop the one on port {port}: `STIGMER_HOME='{home}' stigmer server stop`"
                    )),
                    None => failure,
                }
            }
            SuperviseError::Port(PortError::Denied { .. }) => Self::from_error(Exit::Forbidden, &error)
                .hint("choose a port above 1023 with `stigmer server --port N`"),
            SuperviseError::Locked(_) => {
                Self::from_error(Exit::Busy, &error).hint("`stigmer server status` says what runs")
            }
            SuperviseError::Hung { pid } => hung(pid),
            SuperviseError::Unconfirmed { pid } => Self::from_error(Exit::Hung, &error).hint(format!(
                "if process {pid} is `stigmer`, end it with the system's own means; `stigmer server` then tidies up"
            )),
            SuperviseError::Barred { pid, source } => barred(pid, source),
            SuperviseError::Silent { .. } => Self::from_error(Exit::Failed, &error)
                .hint("`stigmer server logs --component supervisor` shows how far it came"),
            SuperviseError::Stopped => Self::from_error(Exit::Failed, &error)
                .hint("somebody ran `stigmer server stop` meanwhile; `stigmer server` starts it again"),
            SuperviseError::Running { .. } => Self::from_error(Exit::Busy, &error)
                .hint("`stigmer server logs -f` shows what it says; `stigmer server stop` ends it"),
            SuperviseError::Spawn(_) => Self::from_error(Exit::Failed, &error),
            SuperviseError::SupervisorEnded { ref log, .. } => with_log(
                Self::from_error(Exit::Failed, &error)
                    .hint("`stigmer server logs --component supervisor` shows more"),
                log,
            ),
            SuperviseError::Failed(failure) => failed(&failure),
        }
    }
}

/// A supervisor that lives and does not answer.
pub(in crate::cli) fn hung(pid: u32) -> Failure {
    Failure::new(
        Exit::Hung,
        format!("the supervisor (process {pid}) does not answer: it hangs or is suspended"),
    )
    .hint(format!(
        "if it is suspended, `kill -CONT {pid}` wakes it; else `stigmer server stop --now` ends it and its components"
    ))
}

/// A supervisor that we cannot ask, and of which perhaps not even the process id is known.
pub(in crate::cli) fn barred(pid: Option<u32>, error: std::io::Error) -> Failure {
    let words = error.to_string();
    let why = Failure::from(error);
    let message = match pid {
        Some(pid) => format!("the supervisor (process {pid}) runs and cannot be asked"),
        None => "it cannot be told whether the platform runs".to_owned(),
    };
    let failure = why.hints().iter().fold(Failure::new(why.exit, message).cause(words), Failure::hint);
    match pid {
        Some(_) => failure
            .hint("mend that; or `stigmer server stop --now` ends it and its components without asking"),
        None => failure.hint("mend that, or ask as the user who started it"),
    }
}

/// A supervisor that lives and did not leave word of itself: only its process id is known, and from a lock file.
pub(super) fn hung_unknown(pid: u32) -> Failure {
    Failure::new(
        Exit::Hung,
        format!("process {pid} supervises this home, but `run/server.json` does not say where to ask it"),
    )
    .hint("wait until it has started or ended; else `stigmer server stop --now` ends it and its components")
}

fn failed(failure: &StartFailure) -> Failure {
    if failure.component == SUPERVISOR {
        let exit = failure.code.and_then(Exit::from_code).unwrap_or(Exit::Failed);
        let words = format!("the supervisor could not start the platform: {}", failure.reason);
        let hint = failure.hint.as_deref().unwrap_or("mend that");
        return Failure::new(exit, words).hint(hint).hint("then start again; nothing was started");
    }
    let exit = failure.code.and_then(Exit::from_code).unwrap_or(Exit::Failed);
    let message = format!("{} did not start: {}", failure.component, failure.reason);
    let mut rendered = with_log(Failure::new(exit, message), &failure.log);
    if let Some(hint) = &failure.hint {
        rendered = rendered.hint(hint);
    }
    rendered.hint(format!(
        "`stigmer server logs --component {}` shows all it said; nothing was left running",
        failure.component
    ))
}

fn with_log(failure: Failure, lines: &[String]) -> Failure {
    lines.iter().fold(failure, |failure, line| failure.cause(format!("log: {line}")))
}
