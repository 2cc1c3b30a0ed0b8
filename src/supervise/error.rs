//! Errors of supervision.

use super::environment::EnvironmentError;
use super::failure::StartFailure;
use super::port::PortError;
use crate::component::ComponentError;
use crate::config::ConfigError;
use crate::lock::LockError;
use std::io;
use std::time::Duration;

/// Error of the supervisor, or of a command that deals with it.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What the agent-runner is to be told cannot be passed on.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The agent runner cannot be had.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// A path would have to be told in JSON and cannot be.
    #[error("the path `{}` is not valid Unicode", .0.display())]
    NotUnicode(std::path::PathBuf),
    /// The server cannot have its port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Somebody else is at work on this home.
    #[error("another supervisor or launcher is active in this home")]
    Locked(#[source] LockError),
    /// The supervisor cannot be started.
    #[error("cannot start the supervisor")]
    Spawn(#[source] io::Error),
    /// The supervisor lives and does not answer.
    #[error("the supervisor (process {pid}) is not responding")]
    Hung {
        /// Its process id.
        pid: u32,
    },
    /// A process is said to be the supervisor, and the system does not confirm it.
    #[error("cannot verify that process {pid} is the supervisor of this home")]
    Unconfirmed {
        /// Its process id.
        pid: u32,
    },
    /// The supervisor cannot be asked.
    #[error("cannot query the supervisor")]
    Barred {
        /// Its process id. `None` if not even that can be read, nor whether it runs.
        pid: Option<u32>,
        /// Why.
        source: io::Error,
    },
    /// The supervisor ended before it said how the start went.
    #[error("the supervisor ended ({status}) before anything was ready")]
    SupervisorEnded {
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// It was told to stop while it started.
    #[error("the platform was told to stop before everything was ready; nothing is left running")]
    Stopped,
    /// The server that is to run in the foreground is already running.
    #[error("stigmer is already running (process {pid}, since {since})")]
    Running {
        /// The supervisor's process id.
        pid: u32,
        /// Since when.
        since: String,
    },
    /// The supervisor said nothing for too long.
    #[error("the supervisor did not report within {}; it was ended", humantime::format_duration(*limit))]
    Silent {
        /// How long it was waited for.
        limit: Duration,
    },
    /// A component failed at the start.
    #[error("{} did not start: {}", .0.component, .0.reason)]
    Failed(Box<StartFailure>),
}

impl From<LockError> for SuperviseError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Io(error) => Self::Io(error),
            held @ LockError::Busy { .. } => Self::Locked(held),
        }
    }
}
