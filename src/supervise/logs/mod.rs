//! Logs: one file per component, written by the supervisor, read and merged by `stigmer server logs`.
//!
//! The supervisor owns the pipes, so a component cannot lose, reorder or mislabel its own lines; every line gets
//! its time and origin here, and the size of the files is bounded while they are written, not at the next start.

mod read;
mod sink;

pub use read::{Follower, tail};
pub use sink::{Sink, pump};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When the supervisor got it, RFC 3339 in UTC with milliseconds: it sorts as text.
    pub time: String,
    /// Whose it is.
    pub component: String,
    /// Where it was written: `stdout`, `stderr`, or `event` for what the supervisor has to say.
    pub stream: String,
    /// What it says.
    pub text: String,
}

/// The log file of `component`.
pub fn file(logs_dir: &Path, component: &str) -> PathBuf {
    logs_dir.join(format!("{component}.log"))
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
const KEPT: usize = 3;

/// Now, as a log has it.
pub fn now() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}
