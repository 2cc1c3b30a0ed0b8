//! Errors as the language has them: problem details (RFC 7807) with types of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What all types of the language begin with.
const STANDARD: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// The type of a call that was cut off in its middle: it may have been done, or not.
pub const INTERRUPTED: &str = "https://stigmer.ai/errors/interrupted";

/// The type of an agent's failure.
pub const AGENT: &str = "https://stigmer.ai/errors/agent";

/// An error that tasks can catch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What kind of error: an address that stands for it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its status, as HTTP has them.
    pub status: u64,
    /// A few words.
    pub title: String,
    /// More of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where: a pointer to the task in the workflow.
    #[serde(default)]
    pub instance: String,
}

impl Fault {
    /// An error of any type.
    pub fn new(kind: &str, status: u64, title: &str, detail: impl Into<String>) -> Self {
        let (kind, title) = (kind.to_owned(), title.to_owned());
        Self { kind, status, title, detail: Some(detail.into()), instance: String::new() }
    }

    fn standard(word: &str, status: u64, title: &str, detail: impl Into<String>) -> Self {
        Self::new(&format!("{STANDARD}{word}"), status, title, detail)
    }

    /// An expression could not be evaluated.
    pub fn expression(detail: impl Into<String>) -> Self {
        Self::standard("expression", 400, "Bad Expression", detail)
    }

    /// A value is not what it has to be.
    pub fn validation(detail: impl Into<String>) -> Self {
        Self::standard("validation", 400, "Bad Value", detail)
    }

    /// Something may not be used.
    pub fn authorization(detail: impl Into<String>) -> Self {
        Self::standard("authorization", 403, "Not Allowed", detail)
    }

    /// The time was over.
    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::standard("timeout", 408, "Timeout", detail)
    }

    /// Another side was not reached, or said no with `status`.
    pub fn communication(status: u64, title: &str, detail: impl Into<String>) -> Self {
        Self::standard("communication", status, title, detail)
    }

    /// It cannot go on.
    pub fn runtime(detail: impl Into<String>) -> Self {
        Self::standard("runtime", 500, "Runtime Error", detail)
    }

    /// A call was cut off.
    pub fn interrupted(detail: impl Into<String>) -> Self {
        Self::new(INTERRUPTED, 500, "Interrupted", detail)
    }

    /// As expressions see it.
    pub fn value(&self) -> Value {
        let mut value = serde_json::json!({
            "type": self.kind, "status": self.status, "title": self.title, "instance": self.instance,
        });
        if let Some(detail) = &self.detail {
            value["detail"] = detail.clone().into();
        }
        value
    }

    /// In one line for people.
    pub fn words(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.title),
            None => self.title.clone(),
        }
    }
}
