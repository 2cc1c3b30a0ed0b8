//! Logs: one file per component, written by the supervisor, read and merged by `stigmer server logs`.
//!
//! The supervisor owns the pipes, so a component cannot lose, reorder or mislabel its own lines; every line gets
//! its time and origin here, and the size of the files is bounded while they are written, not at the next start.
//!
//! - `cutter`: bytes of a pipe to lines. `sink`: lines to files that are rotated.
//! - [`source`]: the files of one component to lines again. [`merge`]: several components in the order of time.
//! - [`watch`]: when there may be something new.

mod cutter;
pub mod merge;
mod sink;
pub mod source;
pub mod watch;

pub use cutter::pump;
pub use sink::Sink;

use super::SUPERVISOR;
use super::components::Components;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When the supervisor got it, RFC 3339 in UTC with milliseconds: it sorts as text. Empty if that is not known.
    pub time: String,
    /// Whose it is.
    pub component: String,
    /// Where it was written: `stdout`, `stderr`, `event` for what the supervisor has to say, or `raw` for what somebody
    /// else wrote into the file, a panic of the supervisor for instance.
    pub stream: String,
    /// What it says.
    pub text: String,
}

/// The log file of `component`.
pub fn file(logs_dir: &Path, component: &str) -> PathBuf {
    logs_dir.join(format!("{component}.log"))
}

/// The log files of the supervisor and of all `components`, by name.
pub fn files(logs_dir: &Path, components: Components) -> Vec<(String, PathBuf)> {
    std::iter::once(SUPERVISOR)
        .chain(components.names())
        .map(|name| (name.to_owned(), file(logs_dir, name)))
        .collect()
}

/// The last `count` lines of all `files` together, oldest first.
///
/// # Errors
/// A log exists and cannot be read.
pub fn tail(files: &[(String, PathBuf)], count: usize) -> io::Result<Vec<Line>> {
    let mut merge = merge::Merge::open(files)?;
    merge.keep_last(count)?;
    let mut lines = Vec::new();
    while let Some(line) = merge.next(merge::Torn::Shown)? {
        lines.push(line);
    }
    Ok(lines)
}

/// The file that was current `age` rotations ago.
fn rotated(current: &Path, age: usize) -> PathBuf {
    let mut name = current.as_os_str().to_owned();
    if age > 0 {
        name.push(format!(".{age}"));
    }
    name.into()
}

/// How many rotated files are kept.
const ROTATED_FILES: usize = 3;

/// Whether `text` is a time as [`now`] writes it. Only such times can be compared as text.
fn is_time(text: &[u8]) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    text.len() == FORM.len()
        && text.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}
