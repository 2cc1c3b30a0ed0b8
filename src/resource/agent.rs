//! What an agent is made of.

use super::Problem;
use super::source::read_strictly;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// How many steps an agent may take if it does not say: each is one answer of the model.
const STEPS: u32 = 50;

/// How long an execution may take if the agent does not say.
const TIMEOUT: Duration = Duration::from_secs(600);

/// An agent's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// What it is for, in a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The model it asks; the one in `config.toml` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// What the model is told first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// What it may do in its workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// How far it may go.
    #[serde(default)]
    pub limits: Limits,
}

/// A model, and who offers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Who offers it.
    pub provider: Provider,
    /// Its name there.
    pub name: String,
    /// Where the provider answers, if not at its usual address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// How many tokens an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How free it is in its choice of words, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

/// Who offers models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Anthropic's Messages interface.
    Anthropic,
    /// `OpenAI`'s Chat Completions interface, or one compatible with it.
    Openai,
    /// Ollama, on this machine or another.
    Ollama,
}

/// What an agent may do in its execution's workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// See which files there are.
    List,
    /// Read a file.
    Read,
    /// Write a file.
    Write,
}

/// How far an agent may go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many answers of the model one execution may take.
    pub steps: u32,
    /// How long one execution may take, as in `10m`.
    #[serde(with = "humantime_text")]
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: STEPS, timeout: TIMEOUT }
    }
}

impl AgentSpec {
    /// Reads a spec strictly.
    ///
    /// # Errors
    /// What is wrong. The places are pointers into the resource.
    pub fn read(spec: &Value) -> Result<Self, Vec<Problem>> {
        let read: Self = read_strictly(spec, "/spec").map_err(|problem| vec![problem])?;
        let problems = read.problems();
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message: &str| problems.push(Problem::new(path, message));
        if let Some(model) = &self.model {
            if model.name.trim().is_empty() {
                wrong("/spec/model/name", "a model has a name");
            }
            if model.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
                wrong("/spec/model/temperature", "the temperature is between 0 and 2");
            }
            if model.max_tokens == Some(0) {
                wrong("/spec/model/max_tokens", "an answer of no tokens is none");
            }
            let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
            if model.base_url.as_deref().is_some_and(|url| !is_url(url)) {
                wrong("/spec/model/base_url", "the address begins with http:// or https://");
            }
        }
        if self.limits.steps == 0 {
            wrong("/spec/limits/steps", "an agent takes at least one step");
        }
        if self.limits.timeout.is_zero() {
            wrong("/spec/limits/timeout", "an execution takes some time, as in `10m`");
        }
        let mut seen = Vec::new();
        for (place, tool) in self.tools.iter().enumerate() {
            if seen.contains(tool) {
                wrong(&format!("/spec/tools/{place}"), "this tool is there already");
            }
            seen.push(*tool);
        }
        problems
    }
}

/// A duration as people write it: `90s`, `10m`.
mod humantime_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn little_is_needed_and_the_rest_has_defaults() {
        let spec = AgentSpec::read(&json!({})).unwrap();
        assert_eq!((spec.limits.steps, spec.limits.timeout), (STEPS, TIMEOUT));
        let written = serde_json::to_value(&spec).unwrap();
        assert_eq!(AgentSpec::read(&written).unwrap(), spec);
    }

    #[test]
    fn what_means_nothing_is_refused_where_it_stands() {
        let model = |key: &str, value: Value| {
            let mut model = json!({"provider": "ollama", "name": "m"});
            model[key] = value;
            json!({ "model": model })
        };
        for (spec, place) in [
            (json!({"instruction": "typo"}), "/spec/instruction"),
            (json!({"tools": ["read", "read"]}), "/spec/tools/1"),
            (json!({"limits": {"steps": 0}}), "/spec/limits/steps"),
            (json!({"limits": {"timeout": "0s"}}), "/spec/limits/timeout"),
            (model("name", " ".into()), "/spec/model/name"),
            (model("temperature", 3.into()), "/spec/model/temperature"),
            (model("max_tokens", 0.into()), "/spec/model/max_tokens"),
            (model("base_url", "localhost".into()), "/spec/model/base_url"),
            (model("provider", "acme".into()), "/spec/model/provider"),
        ] {
            let problems = AgentSpec::read(&spec).unwrap_err();
            assert_eq!(problems[0].path, place, "{problems:?}");
        }
    }
}
