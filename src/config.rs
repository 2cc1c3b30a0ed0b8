//! `config.toml`: what a person decided once, for every start.
//!
//! Absent is the default. An unknown key is an error that names it: a setting that silently does nothing is worse than none.
//! The warm start never reads it.

use crate::home::Home;
use crate::model::Model;
use serde::{Deserialize, Deserializer};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stigmer_protocol::component::{AgentRunnerSettings, ServerSettings};

/// The configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[cache]`
    pub cache: Cache,
    /// `[server]`
    pub server: Server,
    /// `[update]`
    pub update: Update,
    /// `[agent-runner]`
    #[serde(rename = "agent-runner")]
    pub agent_runner: AgentRunner,
    /// `[workflow-runner]`
    #[serde(rename = "workflow-runner")]
    pub workflow_runner: WorkflowRunner,
}

/// `[workflow-runner]`: what it is told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkflowRunner {
    /// The variables that workflows may use as secrets: `environment = ["MY_KEY"]`.
    pub environment: Vec<Names>,
}

/// `[agent-runner]`: what it is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentRunner {
    /// Variables it gets besides those of the model providers: `environment = ["AWS_*", "MY_KEY"]`.
    pub environment: Vec<Names>,
    /// The model of agents that name none: `model = { provider = "ollama", name = "qwen3" }`.
    #[serde(deserialize_with = "model")]
    pub model: Option<Model>,
    /// How many executions of agents are in work at once: `executions = 4`, at most 64.
    #[serde(deserialize_with = "executions")]
    pub executions: u8,
}

impl Default for AgentRunner {
    fn default() -> Self {
        Self { environment: Vec::new(), model: None, executions: 4 }
    }
}

/// The name of a variable, or with a `*` at its end the beginning of several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Names {
    start: String,
    many: bool,
}

impl Names {
    /// Whether the variable `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        if self.many { name.starts_with(&self.start) } else { name == self.start }
    }
}

impl TryFrom<String> for Names {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (start, many) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text.as_str(), false),
        };
        if stigmer_protocol::is_variable(start) {
            return Ok(Self { start: start.to_owned(), many });
        }
        Err(format!("`{text}` is no name of a variable; `NAME` is one, and `BEGINNING_*` is several"))
    }
}

/// `[cache]`: what `stigmer cache gc` keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// What was not used for this long goes: `max_age = "30d"`.
    #[serde(deserialize_with = "duration")]
    pub max_age: Duration,
    /// The store's size cap in megabytes: `max_size_mb = 2000`.
    pub max_size_mb: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(30 * 86_400), max_size_mb: 2000 }
    }
}

/// `[server]`: how the platform is started.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where the server listens on 127.0.0.1: `port = 7234`; 0 takes any free one.
    pub port: u16,
    /// How long a component may take to stop before it is killed: `stop_timeout = "10s"`.
    #[serde(deserialize_with = "limit")]
    pub stop_timeout: Duration,
    /// How long the start may take in all: `start_timeout = "60s"`.
    #[serde(deserialize_with = "limit")]
    pub start_timeout: Duration,
    /// How long a component may be alive and not answer before it is killed and started again:
    /// `hang_timeout = "60s"`; `"0s"` leaves it alone.
    #[serde(deserialize_with = "limit_or_none")]
    pub hang_timeout: Duration,
    /// The first pause before a component that ended is started again, of which each further one is twice as long:
    /// `restart_pause = "500ms"`.
    #[serde(deserialize_with = "pause")]
    pub restart_pause: Duration,
    /// How long an execution is kept after its end: `retention = "30d"`; without it, until somebody deletes it.
    #[serde(deserialize_with = "retention")]
    pub retention: Option<Duration>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            port: 7234,
            stop_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(60),
            hang_timeout: Duration::from_secs(60),
            restart_pause: Duration::from_millis(500),
            retention: None,
        }
    }
}

/// `[update]`: where new versions come from, and who is believed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// Where releases are published: `url = "https://releases.stigmer.ai"`, or `https://github.com/OWNER/REPO`.
    pub url: Option<String>,
    /// Which releases are offered: `channel = "stable"`.
    pub channel: Option<String>,
    /// Public keys of minisign that are trusted besides those this executable was built with, for the releases of a private
    /// mirror: `trusted_keys = ["RW…"]`.
    pub trusted_keys: Vec<String>,
    /// Certificates to accept besides those of the system, in PEM form: `ca_file = "/etc/ssl/company.pem"`.
    pub ca_file: Option<PathBuf>,
    /// How long a host may be silent before the connection is given up: `stall_timeout = "30s"`.
    #[serde(deserialize_with = "limit")]
    pub stall_timeout: Duration,
    /// Whether a new version is remarked on at the end of some commands: `notice = true`.
    pub notice: bool,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            url: None,
            channel: None,
            trusted_keys: Vec::new(),
            ca_file: None,
            stall_timeout: Duration::from_secs(30),
            notice: true,
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("`{}` is not understood: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, where.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads the configuration of `home`; the default if there is none.
    pub fn read(home: &Home) -> Result<Self, ConfigError> {
        let path = home.config();
        let text = match fs_err::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        toml::from_str(&text).map_err(|source| ConfigError::Syntax { path, source: Box::new(source) })
    }

    /// Returns the settings of the agent-runner, as its config line has them.
    pub fn agent_runner_settings(&self) -> AgentRunnerSettings {
        AgentRunnerSettings {
            executions: self.agent_runner.executions,
            model: self.agent_runner.model.clone(),
        }
    }

    /// Returns the settings of the server, as its config line has them. `workspaces` is the directory of the agents' workspaces.
    pub fn server_settings(&self, workspaces: &Path) -> ServerSettings {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        ServerSettings {
            retention_ms: self.server.retention.map(millis),
            workspaces: Some(workspaces.display().to_string()),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Model>, D::Error> {
    let model = Model::deserialize(deserializer)?;
    match model.problems().first() {
        None => Ok(Some(model)),
        Some((key, message)) => Err(serde::de::Error::custom(format!("`{key}`: {message}"))),
    }
}

fn executions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let count = u8::deserialize(deserializer)?;
    if (1..=64).contains(&count) {
        return Ok(count);
    }
    Err(serde::de::Error::custom("1 to 64 executions are in work at once"))
}

/// A time limit: none is no limit at all, and one beyond an hour is a mistake.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let limit = duration(deserializer)?;
    if is_limit(limit) {
        return Ok(limit);
    }
    Err(serde::de::Error::custom("a time limit is between `1s` and `1h`"))
}

/// A time limit that can be switched off.
fn limit_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let limit = duration(deserializer)?;
    if limit.is_zero() || is_limit(limit) {
        return Ok(limit);
    }
    Err(serde::de::Error::custom("this time limit is between `1s` and `1h`, or `0s` for none"))
}

/// A shorter pause would burn the processor, a longer one is longer than any later one.
fn pause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let pause = duration(deserializer)?;
    if (Duration::from_millis(10)..=Duration::from_secs(30)).contains(&pause) {
        return Ok(pause);
    }
    Err(serde::de::Error::custom("a pause is between `10ms` and `30s`"))
}

/// A shorter retention deletes executions before anybody has read their results.
fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let retention = duration(deserializer)?;
    if retention >= Duration::from_secs(60) {
        return Ok(Some(retention));
    }
    Err(serde::de::Error::custom(
        "a retention is at least `1m`; without it, executions are kept until they are deleted",
    ))
}

fn is_limit(limit: Duration) -> bool {
    (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        Config::read(&Home::at(dir.path()))
    }

    #[test]
    fn absent_and_empty_are_the_default() {
        assert_eq!(Config::read(&Home::at("/nowhere/at/all")).unwrap(), Config::default());
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn values_are_taken_and_unknown_keys_are_named() {
        let config = read("[cache]\nmax_age = \"12h\"\n[server]\nport = 0\n").unwrap();
        assert_eq!((config.cache.max_age, config.server.port), (Duration::from_secs(43_200), 0));
        for senseless in [
            "port = 70000",
            "stop_timeout = \"0s\"",
            "start_timeout = \"2h\"",
            "stop_timeout = 3",
            "hang_timeout = \"10ms\"",
            "restart_pause = \"0s\"",
            "retention = \"59s\"",
            "retention = 30",
        ] {
            assert!(read(&format!("[server]\n{senseless}\n")).is_err(), "{senseless}");
        }
        assert_eq!(config.server.retention, None);
        let config = read("[server]\nretention = \"30d\"\n").unwrap();
        assert_eq!(config.server.retention, Some(Duration::from_secs(30 * 86_400)));
        let settings = config.server_settings(Path::new("/w"));
        assert_eq!((settings.retention_ms, settings.workspaces), (Some(30 * 86_400_000), Some("/w".into())));
        let config = read("[agent-runner]\nenvironment = [\"AWS_*\", \"MY_KEY\"]\n").unwrap();
        let wanted = |name: &str| config.agent_runner.environment.iter().any(|names| names.matches(name));
        assert!(wanted("AWS_REGION") && wanted("AWS_") && wanted("MY_KEY"));
        assert!(!wanted("AWS") && !wanted("MY_KEY_2") && !wanted("XAWS_A"));
        for senseless in ["*", "", "A B", "9A", "A*B", "A=B", "A**", "Ä"] {
            let text = format!("[agent-runner]\nenvironment = [{senseless:?}]\n");
            assert!(read(&text).unwrap_err().to_string().contains("no name of a variable"), "{senseless}");
        }
        let config = read("[agent-runner]\nmodel = { provider = \"ollama\", name = \"m\" }\n").unwrap();
        assert_eq!(config.agent_runner.model.map(|model| model.name), Some("m".to_owned()));
        assert_eq!(config.agent_runner.executions, 4);
        for (senseless, says) in [
            ("model = { provider = \"acme\", name = \"m\" }", "acme"),
            ("model = { provider = \"ollama\" }", "name"),
            ("model = { provider = \"ollama\", name = \"m\", url = \"x\" }", "url"),
            ("model = { provider = \"ollama\", name = \"m\", base_url = \"x\" }", "http://"),
            ("executions = 0", "1 to 64"),
            ("executions = 65", "1 to 64"),
        ] {
            let error = read(&format!("[agent-runner]\n{senseless}\n")).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let error = read("[server]\nprot = 1\n").unwrap_err().to_string();
        assert!(error.contains("prot") && error.contains("config.toml"), "{error}");
    }
}
