//! A remark, at the end of some command and at most once a day, that there is a newer release.
//!
//! No command waits for it: what is said was found out by an earlier, detached process. `data/update/notice.json` holds what
//! it found, and when somebody last looked and last heard of it. That file decides nothing but words; an update asks anew.

use super::{Issued, Release};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long what was found holds, and how long nothing is said again.
const DAY: Duration = Duration::from_secs(86_400);
/// Longest file in bytes.
const LEN: u64 = 4096;
/// The variable that turns remarks off, whatever it is set to.
pub const OFF_VARIABLE: &str = "STIGMER_NO_UPDATE_NOTICE";

/// What is remembered between commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    schema: u32,
    /// When the source was last asked, or was going to be.
    asked: Option<Issued>,
    /// When a person was last told.
    told: Option<Issued>,
    /// The newest release then.
    version: Option<Version>,
    /// When it was issued.
    date: Option<Issued>,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("notice.json")
}

impl Notice {
    /// Reads the record below `state_dir`. A missing or unreadable record is an empty one.
    pub fn read(state_dir: &Path) -> Self {
        let path = path(state_dir);
        let is_short = path.metadata().is_ok_and(|meta| meta.len() <= LEN);
        let text = if is_short { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes the record below `state_dir`, replacing the file by rename.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let path = path(state_dir);
        let dir = path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".notice-").tempfile_in(dir)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Whether it is time to ask the source again. If so, that is noted, so that one process does it.
    pub fn is_time_to_ask(&mut self, now: SystemTime) -> bool {
        let due = is_past(self.asked, DAY, now);
        if due {
            self.asked = at(now);
        }
        due
    }

    /// The release to remark on, if there is one and a day has passed since the last remark; that it is said now is noted.
    /// With `lag`, only a release that is older than a day: a package manager may not have a newer one yet.
    pub fn remark(&mut self, current: &Version, lag: bool, now: SystemTime) -> Option<Version> {
        let version = self.version.clone().filter(|version| version > current)?;
        if !is_past(self.told, DAY, now) || (lag && !is_past(self.date, DAY, now)) {
            return None;
        }
        self.told = at(now);
        Some(version)
    }

    /// The newest release that was heard of, and when the source was asked; the second is `None` if it never was.
    pub fn heard(&self) -> (Option<&Version>, Option<Issued>) {
        (self.version.as_ref(), self.asked)
    }

    /// Notes what the source said.
    pub fn found(&mut self, release: &Release, now: SystemTime) {
        self.schema = 1;
        self.asked = at(now);
        self.version = Some(release.version.clone());
        self.date = Some(release.date);
    }
}

fn at(now: SystemTime) -> Option<Issued> {
    Issued::at_unix(now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

/// Whether `then` is at least so long ago; a time that is unknown is, and so is one in the future, which some clock made up.
fn is_past(then: Option<Issued>, long: Duration, now: SystemTime) -> bool {
    then.is_none_or(|then| now.duration_since(then.time()).map_or(true, |age| age >= long))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * u32::try_from(20_000 + number).unwrap()
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_passes_between_questions_and_between_remarks() {
        let mut notice = Notice { version: Some(version("2.0.0")), date: at(day(0)), ..Notice::default() };
        assert!(notice.is_time_to_ask(day(0)));
        assert!(!notice.is_time_to_ask(day(0) + DAY / 2));
        assert!(notice.is_time_to_ask(day(1)));
        let current = version("1.0.0");
        assert_eq!(notice.remark(&current, false, day(0)), Some(version("2.0.0")));
        assert_eq!(notice.remark(&current, false, day(0) + DAY / 2), None);
        assert_eq!(notice.remark(&current, false, day(1)), Some(version("2.0.0")));
        assert_eq!(notice.remark(&version("2.0.0"), false, day(9)), None);
    }

    #[test]
    fn where_releases_arrive_late_nothing_is_said_on_their_first_day() {
        let mut notice = Notice { version: Some(version("2.0.0")), date: at(day(5)), ..Notice::default() };
        let current = version("1.0.0");
        assert_eq!(notice.remark(&current, true, day(5) + DAY / 2), None);
        assert_eq!(notice.remark(&current, true, day(6)), Some(version("2.0.0")));
    }

    #[test]
    fn what_is_not_understood_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        assert_eq!(Notice::read(home), Notice::default());
        let mut notice = Notice::default();
        assert!(notice.is_time_to_ask(day(3)));
        notice.write(home).unwrap();
        assert_eq!(Notice::read(home), notice);
        std::fs::write(path(home), "{").unwrap();
        assert_eq!(Notice::read(home), Notice::default());
        // A clock that was ahead does not silence us for years.
        assert!(Notice { asked: at(day(500)), ..Notice::default() }.is_time_to_ask(day(3)));
    }
}
