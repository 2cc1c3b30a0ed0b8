//! What an agent is made of.

use super::Problem;
use crate::problem::read_strictly;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use stigmer_protocol::model::Model;

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
            for (key, message) in model.problems() {
                wrong(&format!("/spec/model/{key}"), message);
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
