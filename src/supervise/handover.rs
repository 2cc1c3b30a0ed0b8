//! What a launcher and its supervisor pass to each other.

use super::components::Components;
use super::control::Status;
use super::error::SuperviseError;
use super::failure::StartFailure;
use super::{environment, skew};
use crate::config::Config;
use crate::home::Home;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stigmer_protocol::environment::{self as variables, Environment};
use stigmer_protocol::{id, line};

/// Version of [`LaunchConfig`].
const LAUNCH_SCHEMA: u32 = 4;

/// Settings of a run of the supervisor: one line on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchConfig {
    schema: u32,
    /// Id of the run.
    pub instance: String,
    /// The executable that the launcher was started from, and its state.
    pub executable: (String, Option<String>),
    /// Port of the API.
    pub port: u16,
    /// Time limit of the start, in milliseconds.
    pub start_timeout_ms: u64,
    /// Time limit for each component to stop, in milliseconds.
    pub stop_timeout_ms: u64,
    /// Time after which a component that is alive and not responding is killed, in milliseconds; 0 for never.
    pub hang_timeout_ms: u64,
    /// First delay before a restart, in milliseconds.
    pub restart_pause_ms: u64,
    /// The components to start, by name.
    pub components: BTreeMap<String, ComponentLaunch>,
}

/// What the launcher has decided for one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentLaunch {
    /// Path of a local program, or of a bundle, in place of the bundled component.
    pub local: Option<String>,
    /// Environment variables for this component alone.
    #[serde(serialize_with = "variables::on_a_line")]
    pub environment: Environment,
    /// Settings of this component.
    pub settings: Value,
}

impl LaunchConfig {
    /// Gathers the settings of a run. Reads the variables for components from this process's environment.
    ///
    /// # Errors
    /// A path or a variable cannot be passed on.
    pub fn new(
        home: &Home,
        config: &Config,
        components: Components,
        port: u16,
        local: &BTreeMap<String, PathBuf>,
    ) -> Result<Self, SuperviseError> {
        text(home.root())?;
        let mut environments = environment::gather(home, config, components)?;
        let mut launches = BTreeMap::new();
        for spec in components.iter().filter(|spec| spec.is_active(config)) {
            let launch = ComponentLaunch {
                local: local.get(spec.name).map(|path| text(path)).transpose()?,
                environment: environments.remove(spec.name).unwrap_or_default(),
                settings: (spec.settings)(config, home),
            };
            launches.insert(spec.name.to_owned(), launch);
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            schema: LAUNCH_SCHEMA,
            instance: id::generate()?,
            executable: skew::own_place(),
            port,
            start_timeout_ms: millis(config.server.start_timeout),
            stop_timeout_ms: millis(config.server.stop_timeout),
            hang_timeout_ms: millis(config.server.hang_timeout),
            restart_pause_ms: millis(config.server.restart_pause),
            components: launches,
        })
    }

    /// Reads the line of a launcher.
    ///
    /// # Errors
    /// There is none, or it is of another version.
    pub fn read(input: &mut impl io::BufRead) -> Result<Self, SuperviseError> {
        let config: Self = serde_json::from_str(&line::read_line(input)?).map_err(io::Error::from)?;
        if config.schema == LAUNCH_SCHEMA {
            Ok(config)
        } else {
            let words =
                format!("unexpected schema {} of the launcher: expected {LAUNCH_SCHEMA}", config.schema);
            Err(io::Error::other(words).into())
        }
    }
}

/// `path` as text: it travels in JSON.
fn text(path: &Path) -> Result<String, SuperviseError> {
    path.to_str().map(str::to_owned).ok_or_else(|| SuperviseError::NotUnicode(path.to_owned()))
}

/// Where a supervisor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a process of its own: the launcher observes the start, and exits.
    Background,
    /// In the process that a person or a service manager started: it observes the stop as well.
    Foreground,
}

/// Observer of a start.
pub type Report = Box<dyn FnMut(&LaunchEvent)>;

/// What a supervisor tells its launcher, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum LaunchEvent {
    /// A bundled component is extracted or checked. The launcher itself reports this.
    Preparing {
        /// Its name.
        component: String,
    },
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
