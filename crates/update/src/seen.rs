//! The newest listing ever seen, for each channel: somebody who holds back what is new can offer only what was signed before, and
//! that shows by its time of issue.
//!
//! `data/update/seen.json` in the home. It is written when a listing was believed, whether or not an update followed.

use super::{Channel, Issued, TrustError};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest file in bytes.
const LEN: u64 = 64 << 10;

/// What was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    path: PathBuf,
    written: Written,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u32,
    channels: BTreeMap<Channel, Issued>,
}

/// Why it is not known what was seen.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not what was written there.
    #[error("`{}`, which remembers the newest listing seen, is not understood: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Seen {
    /// Reads the record below `state_dir`: empty if no listing was ever seen.
    ///
    /// # Errors
    /// A damaged file is one: to go on as if nothing had been seen would be what an attacker wants.
    pub fn read(state_dir: &Path) -> Result<Self, SeenError> {
        let path = state_dir.join("seen.json");
        let damaged = |reason: String| SeenError::Damaged { path: path.clone(), reason };
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.len() > LEN => return Err(damaged(format!("it has {} bytes", meta.len()))),
            Ok(_) => fs::read(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, written: Written { schema: 1, channels: BTreeMap::new() } });
            }
            Err(error) => return Err(error.into()),
        };
        let written: Written = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if written.schema != 1 {
            return Err(damaged(format!("it has schema {}; this stigmer reads schema 1", written.schema)));
        }
        Ok(Self { path, written })
    }

    /// When the newest listing seen on `channel` was issued.
    pub fn newest(&self, channel: &Channel) -> Option<Issued> {
        self.written.channels.get(channel).copied()
    }

    /// Refuses a listing that is older than one seen before.
    pub fn check(&self, channel: &Channel, issued: Issued) -> Result<(), TrustError> {
        match self.newest(channel) {
            Some(seen) if issued < seen => Err(TrustError::Replayed { issued, seen }),
            _ => Ok(()),
        }
    }

    /// Remembers a listing that was believed. Writes nothing if that is not news.
    pub fn remember(&mut self, channel: &Channel, issued: Issued) -> Result<(), SeenError> {
        if self.newest(channel).is_some_and(|seen| issued <= seen) {
            return Ok(());
        }
        self.written.channels.insert(channel.clone(), issued);
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".seen-").tempfile_in(dir)?;
        let mut bytes = serde_json::to_vec(&self.written).map_err(io::Error::from)?;
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.persist(&self.path).map_err(|e| e.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Issued {
        text.parse().unwrap()
    }

    #[test]
    fn an_older_listing_is_refused_on_its_channel_only() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let (stable, beta) = (Channel::stable(), "beta".parse().unwrap());
        let mut seen = Seen::read(home).unwrap();
        assert_eq!(seen.check(&stable, at("2026-01-02T00:00:00Z")), Ok(()));
        seen.remember(&stable, at("2026-01-02T00:00:00Z")).unwrap();
        seen.remember(&stable, at("2026-01-01T00:00:00Z")).unwrap();

        let seen = Seen::read(home).unwrap();
        assert_eq!(seen.newest(&stable), Some(at("2026-01-02T00:00:00Z")));
        assert_eq!(seen.check(&stable, at("2026-01-02T00:00:00Z")), Ok(()));
        assert_eq!(seen.check(&beta, at("2026-01-01T00:00:00Z")), Ok(()));
        let error = seen.check(&stable, at("2026-01-01T00:00:00Z")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the listing was issued on 2026-01-01T00:00:00Z, and one issued on 2026-01-02T00:00:00Z was seen \
             before: somebody offers an old one"
        );
    }

    #[test]
    fn a_damaged_memory_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let path = home.join("seen.json");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in
            ["", "{}", r#"{"schema":2,"channels":{}}"#, r#"{"schema":1,"channels":{"stable":"then"}}"#]
        {
            fs::write(&path, text).unwrap();
            let error = Seen::read(home).unwrap_err().to_string();
            assert!(error.contains("seen.json"), "{error}");
        }
    }
}
