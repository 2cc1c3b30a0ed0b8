//! Standard output for data, standard error for talk.

use serde::Serialize;
use std::fmt;
use std::io::{self, Write};

/// The version of the shape of everything printed with `--json`. It stands in each object as `schema`.
pub(super) const JSON_SCHEMA: u32 = 1;

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

#[derive(Serialize)]
struct WithSchema<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// For people, or with `json` for scripts.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether data is printed as JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// Standard output cannot be written; a closed pipe is rendered as success by the caller's caller.
    pub fn line(self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Prints `value` as one JSON object with its schema version.
    pub fn json<T: Serialize>(self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(&WithSchema {
            schema: JSON_SCHEMA,
            value,
        })?;
        self.line(text)
    }

    /// Says something to the person, on standard error.
    pub fn note(self, text: impl fmt::Display) {
        // Nobody can be told that standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Whether somebody watches standard error, so that progress makes sense.
    pub fn is_watched(self) -> bool {
        console::user_attended_stderr()
    }
}

/// A number of bytes for people: `31.9 MB`, powers of ten.
pub(super) fn bytes(count: u64) -> String {
    indicatif::DecimalBytes(count).to_string()
}
