//! What is wrong with a file that was written by hand.

use serde::{Deserialize, Serialize};

/// What is wrong with a resource, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}", place(path))]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901) into the resource.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub message: String,
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" (at {path})") }
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}
