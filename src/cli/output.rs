//! Standard output for data, standard error for talk.

pub(super) use crate::store::bytes;
use serde::Serialize;
use std::borrow::Cow;
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

    /// Prints lines of data.
    pub fn text(self, text: &str) -> io::Result<()> {
        io::stdout().lock().write_all(text.as_bytes())
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
        self.line(json_text(&WithSchema { schema: JSON_SCHEMA, value })?)
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

/// `value` in one line of JSON. What a terminal takes as an order stands in it as an escape, which means the same.
pub(super) fn json_text<T: Serialize>(value: &T) -> io::Result<String> {
    let text = serde_json::to_string(value)?;
    if !text.contains(is_order) {
        return Ok(text);
    }
    // In JSON such characters stand in strings only.
    Ok(text
        .chars()
        .map(|c| if is_order(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() })
        .collect())
}

/// Whether a terminal takes it as an order: control characters, and those that change the direction of what stands around them.
fn is_order(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as it may be printed on a terminal, in one line.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_order = |c: char| is_order(c) && c != '\t';
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_order(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Formats a value for a table; `-` if there is none.
pub(super) fn dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Formats a count with its noun: `1 file`, `2 files`.
pub(super) fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gives_no_orders_to_a_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\u{9b}c\r\td"), "a\\u{1b}[2Jb\\u{9b}c\\r\td");
        let text = "\u{9b}\u{202e}\x1b\n";
        let written = json_text(&text).expect("JSON");
        assert_eq!(written, r#""\u009b\u202e\u001b\n""#);
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
    }
}
