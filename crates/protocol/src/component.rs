//! What a supervisor and a component say to each other, as `docs/component-protocol.md` defines it.
//!
//! One type is written on one side and read on the other, and it refuses both unknown and missing keys: the
//! two ends cannot drift apart in silence, which is what happens to contracts made of environment variables.

use crate::environment::{self, Environment};
use crate::line::read_line;
use crate::model::Model;
use crate::redact::Redactor;
use crate::token::Token;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, BufRead};
use std::net::SocketAddr;

/// The version of [`ComponentConfig`].
pub const CONFIG_SCHEMA: u32 = 4;

/// The exit code that says a restart will not help.
pub const EXIT_CONFIG: i32 = 78;

/// Everything a component is told, in the first line of its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentConfig {
    /// Version of this object.
    pub schema: u32,
    /// The component's name.
    pub component: String,
    /// Id of this run of the supervisor.
    pub instance: String,
    /// Where the server listens.
    pub server_url: String,
    /// The bearer token of this installation.
    pub token: Token,
    /// A directory the component may write to.
    pub work_dir: String,
    /// How often a worker heartbeats.
    pub heartbeat_ms: u64,
    /// Environment variables for this component alone, such as keys of model providers. They travel here because a process's
    /// environment can be read by whoever can list processes.
    #[serde(serialize_with = "environment::on_a_line")]
    pub environment: Environment,
    /// Settings of this component: a JSON object, which [`Self::settings`] reads.
    pub settings: Value,
}

/// Settings of the agent-runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRunnerSettings {
    /// Maximum number of concurrent executions.
    pub executions: u8,
    /// Model of agents whose definition names none.
    pub model: Option<Model>,
}

/// Settings of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Time after its end that an execution is kept, in milliseconds; without it, executions are kept until somebody deletes them.
    #[serde(default)]
    pub retention_ms: Option<u64>,
    /// Directory of the agents' workspaces, one for each execution, named by its id. Without it, none is removed.
    #[serde(default)]
    pub workspaces: Option<String>,
}

/// Settings of a component that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Standard input cannot be read.
    #[error("the config cannot be read from standard input")]
    Read(#[from] io::Error),
    /// It is no config.
    #[error("the config on standard input is not understood")]
    Parse(#[from] serde_json::Error),
    /// It is well formed and means nothing.
    #[error("the config says {0}")]
    Meaning(String),
}

impl ComponentConfig {
    /// Reads the config of the component `name` from the first line of `input`.
    pub fn read(name: &str, input: &mut impl BufRead) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_str(&read_line(input)?)?;
        config.check(name)?;
        Ok(config)
    }

    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError::Meaning(what));
        if self.schema != CONFIG_SCHEMA {
            return wrong(format!("schema {}, this version reads {CONFIG_SCHEMA}", self.schema));
        }
        if self.component != name {
            return wrong(format!("it is for `{}`, this is `{name}`", self.component));
        }
        if self.heartbeat_ms == 0 {
            return wrong("heartbeat_ms is 0".to_owned());
        }
        if !self.settings.is_object() {
            return wrong("settings is not an object".to_owned());
        }
        self.server_address().map(drop)
    }

    /// Reads the settings as the component's own type.
    ///
    /// # Errors
    /// They are not of that type.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        T::deserialize(&self.settings).map_err(|error| ConfigError::Meaning(format!("settings: {error}")))
    }

    /// The address in `server_url`: where the server listens.
    pub fn server_address(&self) -> Result<SocketAddr, ConfigError> {
        self.server_url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .and_then(|rest| rest.parse().ok())
            .filter(|address: &SocketAddr| address.ip().is_loopback())
            .ok_or_else(|| {
                ConfigError::Meaning(format!(
                    "server_url is `{}`; it must be http://127.0.0.1:PORT",
                    self.server_url
                ))
            })
    }
}

/// The one line a component writes to standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Handshake {
    /// It can do its work now.
    Ready {
        /// Its version.
        version: String,
        /// Its process id.
        pid: u32,
        /// Where it listens, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<SocketAddr>,
    },
    /// It cannot.
    Failed {
        /// Why.
        reason: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl Handshake {
    /// Reads a handshake from what a component wrote.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// The same without secrets, and short enough to be told to others: it goes into records, logs and answers.
    #[must_use]
    pub fn cleaned(self, redactor: &Redactor) -> Self {
        let clean = |text: String| shortened(&redactor.redact(&text)).into_owned();
        match self {
            Self::Ready { version, pid, address } => Self::Ready { version: clean(version), pid, address },
            Self::Failed { reason, hint } => Self::Failed { reason: clean(reason), hint: hint.map(clean) },
        }
    }
}

/// What is told of a text, in bytes. The texts of a failed start together must fit into [`MAX_LINE_BYTES`](crate::line::MAX_LINE_BYTES), also where JSON needs two
/// bytes for one.
const MAX_TOLD: usize = 1000;

/// The beginning of `text`, as much as is told to others; control characters, which could do something to the reader's
/// terminal and cost six bytes in JSON, are replaced.
pub fn shortened(text: &str) -> Cow<'_, str> {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.len() <= MAX_TOLD && !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let end = (0..=text.len().min(MAX_TOLD)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let mut short: String = text[..end].chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect();
    if text.len() > MAX_TOLD {
        short.push('…');
    }
    Cow::Owned(short)
}

/// What stands on a component's standard output before the component does: which process its attendant has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub enum Attending {
    /// The component has a process.
    Attending {
        /// The process's id.
        pid: u32,
    },
}

impl Attending {
    /// Reads such a line; `None` if it is another one.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn config() -> ComponentConfig {
        ComponentConfig {
            schema: CONFIG_SCHEMA,
            component: "agent-runner".to_owned(),
            instance: "i".to_owned(),
            server_url: "http://127.0.0.1:7234".to_owned(),
            token: Token::from("t"),
            work_dir: "/w".to_owned(),
            heartbeat_ms: 1000,
            environment: serde_json::from_str(r#"{"MY_KEY": "value-4711"}"#).expect("an environment"),
            settings: serde_json::json!({"executions": 4, "model": null}),
        }
    }

    fn read(value: &Value) -> Result<ComponentConfig, ConfigError> {
        ComponentConfig::read("agent-runner", &mut format!("{value}\n").as_bytes())
    }

    #[test]
    fn the_document_the_writer_and_the_reader_name_the_same_keys() {
        let page = include_str!("../../../docs/component-protocol.md");
        let section = page
            .split("## Config")
            .nth(1)
            .and_then(|rest| rest.split("\n## ").next())
            .expect("the page has a section on the config");
        let documented: BTreeSet<String> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
            .collect();
        let value = serde_json::to_value(config()).expect("serializes");
        let written: BTreeSet<String> = value.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(written, documented);
        for key in &written {
            let mut less = value.clone();
            less.as_object_mut().expect("an object").remove(key);
            assert!(read(&less).is_err(), "reads on without `{key}`");
        }
        let mut more = value.clone();
        more["surplus"] = true.into();
        assert!(read(&more).is_err());
        assert_eq!(read(&value).expect("the whole is read"), config());
    }

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        let value = serde_json::to_value(config()).expect("serializes");
        for (key, wrong) in [
            ("schema", serde_json::json!(1)),
            ("environment", serde_json::json!(null)),
            ("environment", serde_json::json!({"MY_KEY": 1})),
            ("settings", serde_json::json!(null)),
            ("settings", serde_json::json!([])),
            ("component", serde_json::json!("other")),
            ("server_url", serde_json::json!("http://10.0.0.1:7234")),
            ("server_url", serde_json::json!("127.0.0.1:7234")),
            ("heartbeat_ms", serde_json::json!(0)),
        ] {
            let mut bad = value.clone();
            bad[key] = wrong;
            assert!(read(&bad).is_err(), "{key}");
        }
    }

    #[test]
    fn settings_are_of_the_components_own_type() {
        let mut config = config();
        let settings: AgentRunnerSettings = config.settings().expect("settings");
        assert_eq!(settings, AgentRunnerSettings { executions: 4, model: None });
        assert!(config.settings::<NoSettings>().is_err());
        config.settings = serde_json::json!({});
        assert!(config.settings::<NoSettings>().is_ok());
        assert!(config.settings::<AgentRunnerSettings>().is_err());
    }

    #[test]
    fn handshakes_are_read_as_documented() {
        let ready = br#"{"event": "ready", "version": "0.1.0", "pid": 4242, "address": "127.0.0.1:7234"}"#;
        assert!(matches!(Handshake::parse(ready), Ok(Handshake::Ready { pid: 4242, address: Some(_), .. })));
        let failed = br#"{"event": "failed", "reason": "no", "hint": "do"}"#;
        assert!(matches!(Handshake::parse(failed), Ok(Handshake::Failed { hint: Some(_), .. })));
        assert!(Handshake::parse(b"hello").is_err());
    }

    #[test]
    fn what_a_handshake_says_is_told_without_secrets_and_not_at_length() {
        let redactor = Redactor::new(&Token::from("token-4711"), &config().environment);
        let said = |text: &str| {
            let failed = Handshake::Failed { reason: text.to_owned(), hint: Some(text.to_owned()) };
            match failed.cleaned(&redactor) {
                Handshake::Failed { reason, hint } => {
                    assert_eq!(Some(&reason), hint.as_ref());
                    reason
                }
                Handshake::Ready { .. } => unreachable!("it failed"),
            }
        };
        assert_eq!(said("a value-4711 b token-4711"), "a [redacted MY_KEY] b [redacted token]");
        assert_eq!(said("two\nlines\x1b[2J"), "two\nlines\u{fffd}[2J");
        let long = said(&"é\x1b".repeat(100_000));
        assert!(long.ends_with('…') && long.len() < 2 * MAX_TOLD, "{}", long.len());
    }

    #[test]
    fn a_config_is_not_shown_with_its_secrets() {
        assert!(!format!("{:?}", config()).contains("4711"));
    }
}
