//! Starts, watches and stops the processes of `stigmer server`.
//!
//! The supervisor is one small process that owns all the others and does nothing else; commands are its clients. What is
//! known about a component is decided in [`lifecycle`], and about all of them in [`fleet`], which have no clock and start
//! nothing; everything with an effect is around them:
//!
//! - [`launch`]: the short-lived process a person starts; finds a supervisor or brings one up.
//! - [`supervisor`]: the one loop that owns all state.
//! - [`health`]: whether what lives is of use.
//! - [`child`]: one process: streams, end, tidying up. `attendant`: the process between us and a program that is not ours.
//! - [`control`], [`client`]: what is said between command and supervisor; between supervisor and component it is [`stigmer_protocol`].
//! - [`lock`], [`state`]: one supervisor per home, and how it is found. [`last_end`]: how the last one ended.
//! - [`skew`]: whether the executable that asks is the one that runs.
//! - [`environment`]: what a component finds around it, and the secrets that only one is told.
//! - [`logs`]: what components say, kept, bounded and merged.

#[cfg(unix)]
pub mod attendant;
pub mod child;
pub mod client;
pub mod control;
pub mod environment;
pub mod fleet;
pub mod health;
pub mod last_end;
pub mod launch;
pub mod lifecycle;
pub mod lock;
pub mod logs;
mod signals;
pub mod skew;
mod slot;
pub mod state;
pub mod supervisor;

use crate::component::ComponentError;
use crate::config::{Config, ConfigError};
use crate::home::Home;
use crate::lock::LockError;
use crate::platform::{self, PortHolder};
use control::Status;
use environment::EnvironmentError;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use stigmer_protocol::component::Agents;
use stigmer_protocol::environment::{self as variables, Environment};
use stigmer_protocol::{id, line};

/// The version of [`LaunchConfig`].
const LAUNCH_SCHEMA: u32 = 3;

/// What a launcher tells a supervisor, in one line on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchConfig {
    schema: u32,
    /// Id of the run that begins.
    pub instance: String,
    /// The executable the launcher was started from, and its state.
    pub executable: (String, Option<String>),
    /// The port the server is to listen on.
    pub port: u16,
    /// A local agent runner.
    pub local: Option<String>,
    /// How long the start may take, in milliseconds.
    pub start_timeout_ms: u64,
    /// How long each component may take to end, in milliseconds.
    pub stop_timeout_ms: u64,
    /// How long a component may be alive and not answer, in milliseconds; 0 for ever.
    pub hang_timeout_ms: u64,
    /// The first pause before a restart, in milliseconds.
    pub restart_pause_ms: u64,
    /// What the agent-runner is told, and nobody else.
    #[serde(serialize_with = "variables::on_a_line")]
    pub environment: Environment,
    /// What the workflow-runner is told, and nobody else.
    #[serde(serialize_with = "variables::on_a_line")]
    pub workflow_environment: Environment,
    /// How the agent-runner works.
    pub agents: Agents,
}

impl LaunchConfig {
    /// What is told for these settings. Reads the variables for the agent-runner from this process's environment.
    pub fn new(
        home: &Home,
        config: &Config,
        port: u16,
        local: Option<&Path>,
    ) -> Result<Self, SuperviseError> {
        let local = match local.map(|path| path.to_str().ok_or(path)) {
            None => None,
            Some(Ok(path)) => Some(path.to_owned()),
            Some(Err(path)) => return Err(SuperviseError::NotUnicode(path.to_owned())),
        };
        if home.root().to_str().is_none() {
            return Err(SuperviseError::NotUnicode(home.root().to_owned()));
        }
        let (environment, workflow_environment) = environment::for_runners(home, config)?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            schema: LAUNCH_SCHEMA,
            instance: id::generate()?,
            executable: skew::own_place(),
            port,
            local,
            start_timeout_ms: millis(config.server.start_timeout),
            stop_timeout_ms: millis(config.server.stop_timeout),
            hang_timeout_ms: millis(config.server.hang_timeout),
            restart_pause_ms: millis(config.server.restart_pause),
            environment,
            workflow_environment,
            agents: config.agents(),
        })
    }

    /// Reads what a launcher told.
    pub fn read(input: &mut impl io::BufRead) -> Result<Self, SuperviseError> {
        let config: Self = serde_json::from_str(&line::read_line(input)?).map_err(io::Error::from)?;
        if config.schema == LAUNCH_SCHEMA {
            Ok(config)
        } else {
            Err(io::Error::other(format!("the launcher speaks schema {}", config.schema)).into())
        }
    }
}

/// What a supervisor tells its launcher, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum LaunchEvent {
    /// The agent runner is made ready to run. (The launcher says that itself.)
    Preparing,
    /// The supervisor can be asked.
    Listening {
        /// Its process id.
        pid: u32,
    },
    /// A component's process was started.
    Starting {
        /// Its name.
        component: String,
    },
    /// A component is ready.
    Ready {
        /// Its name.
        component: String,
        /// Where it listens, if it does.
        address: Option<SocketAddr>,
        /// How long it took.
        millis: u64,
    },
    /// All of them are.
    Up(Box<Status>),
    /// One of them is not, and nothing is left running.
    Failed(Box<StartFailure>),
    /// Everything is being ended.
    Stopping {
        /// Who has not ended yet.
        waiting_for: Vec<String>,
    },
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// The component that failed.
    pub component: String,
    /// Why, in its own words if it had any.
    pub reason: String,
    /// What to do about it, in its own words.
    pub hint: Option<String>,
    /// Its exit code, if it had one; the supervisor's own is what the launcher is to end with.
    pub code: Option<i32>,
    /// The last lines it wrote.
    pub log: Vec<String>,
}

/// The name of the supervisor among the components, in failures and logs.
pub const SUPERVISOR: &str = "supervisor";

impl StartFailure {
    /// A failure of the supervisor itself.
    pub fn of_supervisor(error: &SuperviseError) -> Self {
        Self {
            component: SUPERVISOR.to_owned(),
            reason: stigmer_protocol::report::chain(error),
            hint: None,
            code: None,
            log: Vec::new(),
        }
    }
}

/// What can go wrong in this room.
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
    /// Another process listens where the server is to listen.
    #[error("port {port} is in use{}", describe_holder(holder.as_ref()))]
    PortTaken {
        /// The port.
        port: u16,
        /// Who holds it, if that can be found out.
        holder: Option<PortHolder>,
    },
    /// The server may not listen there.
    #[error("cannot listen on port {port}")]
    Port {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else is at work on this home.
    #[error("another supervisor or launcher is at work here")]
    Locked(#[source] LockError),
    /// The supervisor cannot be started.
    #[error("the supervisor cannot be started")]
    Spawn(#[source] io::Error),
    /// The supervisor lives and does not answer.
    #[error("the supervisor (process {pid}) does not answer: it hangs")]
    Hung {
        /// Its process id.
        pid: u32,
    },
    /// A process is said to be the supervisor, and the system does not confirm it.
    #[error("process {pid} is said to supervise this home, and the system does not confirm it")]
    Unconfirmed {
        /// Its process id.
        pid: u32,
    },
    /// The supervisor cannot be asked.
    #[error("the supervisor cannot be asked")]
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
    /// What is to run in the foreground runs already.
    #[error("stigmer runs already (process {pid}, since {since})")]
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

fn describe_holder(holder: Option<&PortHolder>) -> String {
    match holder {
        None => " by another process".to_owned(),
        Some(PortHolder { pid, home: Some(home), .. }) => {
            format!(" by process {pid}: the stigmer server of `{home}`")
        }
        Some(PortHolder { pid, command, .. }) => {
            let short: String = command.chars().take(80).collect();
            format!(" by process {pid}: {short}")
        }
    }
}

/// How a process ended, for people.
pub fn describe_exit(status: std::process::ExitStatus) -> String {
    match platform::exit_parts(status) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}
