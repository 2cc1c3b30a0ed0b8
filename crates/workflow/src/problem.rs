//! What is wrong with a file that was written by hand.

use crate::pointer::escape;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// Reads a value as `T`. `base` is the pointer of the value in its resource, and prefixes the path of an error.
///
/// # Errors
/// The value does not deserialize as `T`; the problem's path points to the part that does not fit.
pub(crate) fn read_strictly<T: DeserializeOwned>(value: &Value, base: &str) -> Result<T, Problem> {
    use serde_path_to_error::Segment;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut path = base.to_owned();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => path.extend(["/", &index.to_string()]),
                Segment::Map { key } => path.extend(["/", &escape(key)]),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        Problem::new(path, error.into_inner().to_string())
    })
}
