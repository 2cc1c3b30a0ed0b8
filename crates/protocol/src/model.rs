//! A model of language, and who offers it: as an agent's spec and `config.toml` name it.

use serde::{Deserialize, Serialize};

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

impl Model {
    /// What in it means nothing: the key, and what would be right.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        let checks = [
            (self.name.trim().is_empty(), "name", "a model has a name"),
            (
                self.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)),
                "temperature",
                "the temperature is between 0 and 2",
            ),
            (self.max_tokens == Some(0), "max_tokens", "an answer of no tokens is none"),
            (
                self.base_url.as_deref().is_some_and(|url| !is_url(url)),
                "base_url",
                "the address begins with http:// or https://",
            ),
        ];
        checks
            .into_iter()
            .filter(|(is_wrong, ..)| *is_wrong)
            .map(|(_, key, message)| (key, message))
            .collect()
    }
}
