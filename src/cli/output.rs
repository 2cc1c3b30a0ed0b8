//! Standard output for data, standard error for talk.

pub(super) use crate::store::bytes;
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

    /// Prints rows of data in columns as wide as they need, the first row being the header.
    pub fn table<const N: usize>(self, rows: &[[String; N]]) -> io::Result<()> {
        let widths: [usize; N] = std::array::from_fn(|column| {
            rows.iter().map(|row| console::measure_text_width(&row[column])).max().unwrap_or(0)
        });
        for row in rows {
            let padded = row.iter().zip(widths).map(|(cell, width)| {
                console::pad_str(cell, width, console::Alignment::Left, None).into_owned()
            });
            self.line(padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Prints `value` as one JSON object with its schema version.
    pub fn json<T: Serialize>(self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(&WithSchema { schema: JSON_SCHEMA, value })?;
        self.line(text)
    }

    /// Says something to the person, on standard error.
    pub fn note(self, text: impl fmt::Display) {
        // Nobody can be told that standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says to the person what to do, on standard error.
    pub fn hint(self, text: impl fmt::Display) {
        self.note(format_args!("   {} {text}", console::style("hint:").cyan().for_stderr()));
    }

    /// Whether somebody watches standard error, so that progress makes sense.
    pub fn is_watched(self) -> bool {
        console::user_attended_stderr()
    }
}
