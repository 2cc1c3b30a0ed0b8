//! `run/last-end.json`: how the last supervisor of a home ended, if it had the time to say so.
//!
//! Written as a whole or not at all, just before it goes; removed by its successor. So a record that is there concerns the
//! last run, and a run that was cut off leaves none: that it crashed is told by `run/server.json`, which it left behind.

use super::StartFailure;
use crate::home::Home;
use crate::platform;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::PathBuf;

/// The version of the file's shape.
const SCHEMA: u32 = 1;

/// A longer file is not ours.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// So many of the last log lines of what failed are kept, each cut to so many characters.
const LINES: (usize, usize) = (10, 500);

/// How a supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEnd {
    schema: u32,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Id of the run.
    pub instance: String,
    /// Its version.
    pub version: String,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Why a supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    /// It was asked to.
    Asked {
        /// By which command, if that was said.
        by: Option<String>,
    },
    /// It was sent a signal.
    Signal {
        /// Its name.
        signal: String,
    },
    /// A component failed at the start, or the supervisor itself.
    StartFailed {
        /// Which, and why.
        failure: Box<StartFailure>,
    },
    /// It was killed or crashed; whoever tidied up behind it wrote this.
    Crashed,
}

impl LastEnd {
    /// An end at this moment.
    pub fn now(instance: &str, why: Why) -> Self {
        let why = match why {
            Why::StartFailed { mut failure } => {
                failure.log.drain(..failure.log.len().saturating_sub(LINES.0));
                for line in &mut failure.log {
                    *line = line.chars().take(LINES.1).collect();
                }
                Why::StartFailed { failure }
            }
            other => other,
        };
        Self {
            schema: SCHEMA,
            time: stigmer_protocol::time::now(),
            instance: instance.to_owned(),
            version: crate::VERSION.to_owned(),
            why,
        }
    }

    fn path(home: &Home) -> PathBuf {
        home.run().join("last-end.json")
    }

    /// Reads the record. One that is missing or not understood tells nothing.
    pub fn read(home: &Home) -> Option<Self> {
        let text = platform::read_small(&Self::path(home), MAX_FILE_BYTES).ok()?;
        serde_json::from_slice(&text).ok().filter(|end: &Self| end.schema == SCHEMA)
    }

    /// Writes the record. That it cannot be written changes nothing about the end, so nobody has to care.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, home: &Home) -> io::Result<()> {
        let run = home.run();
        platform::create_private_dir(&run)?;
        let mut file = tempfile::NamedTempFile::new_in(&run)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.persist(Self::path(home)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the record: a new run begins.
    pub fn remove(home: &Home) {
        let _ = fs_err::remove_file(Self::path(home));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_rubbish_tells_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path());
        assert_eq!(LastEnd::read(&home), None);
        let failure = StartFailure {
            component: "agent-runner".to_owned(),
            reason: "no model".to_owned(),
            hint: None,
            code: Some(78),
            log: vec!["x".repeat(1000); 20],
        };
        for why in [
            Why::Asked { by: Some("server stop".to_owned()) },
            Why::Signal { signal: "SIGTERM".to_owned() },
            Why::StartFailed { failure: Box::new(failure) },
            Why::Crashed,
        ] {
            let end = LastEnd::now("i", why);
            end.write(&home).expect("written");
            assert_eq!(LastEnd::read(&home), Some(end.clone()));
            if let Why::StartFailed { failure } = end.why {
                assert_eq!((failure.log.len(), failure.log[0].len()), LINES);
            }
        }
        for rubbish in ["", "{", "{\"schema\":2,\"time\":\"t\"}"] {
            fs_err::write(LastEnd::path(&home), rubbish).expect("written");
            assert_eq!(LastEnd::read(&home), None);
        }
        let endless = LastEnd::now("i", Why::Signal { signal: "x".repeat(1 << 20) });
        endless.write(&home).expect("written");
        assert_eq!(LastEnd::read(&home), None);
        LastEnd::remove(&home);
        assert_eq!(LastEnd::read(&home), None);
    }
}
