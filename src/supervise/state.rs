//! `run/server.json`: where the supervisor of a home can be asked, and who it is.
//!
//! The file is a pointer, never the truth. It names a process by id, start time and boot, and is believed only if that very
//! process lives: an id alone may belong to somebody else by now, and a token must not be sent to a stranger.

use super::SUPERVISOR;
use super::identity::Identity;
use super::instance;
use super::logs::{self, Sink};
use crate::home::Home;
use crate::platform;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

/// The version of the file's shape.
pub const STATE_SCHEMA: u32 = 1;

/// Maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerState {
    /// Version of this object.
    pub schema: u32,
    /// Id of this run.
    pub instance: String,
    /// The supervisor.
    #[serde(flatten)]
    pub identity: Identity,
    /// Where it listens for commands.
    pub control: SocketAddr,
    /// Its version.
    pub version: String,
    /// The executable it was started from.
    pub executable: String,
    /// When it started.
    pub since: String,
    /// The processes it has started, so that its successor can end what outlives it.
    #[serde(default)]
    pub children: Vec<Identity>,
}

impl ServerState {
    fn path(home: &Home) -> PathBuf {
        home.run().join("server.json")
    }

    /// Reads the file. One that is missing or not understood names nobody, and so does one that cannot be read.
    pub fn read(home: &Home) -> Option<Self> {
        Self::find(home).ok().flatten()
    }

    /// Reads the file, for who has to tell that there is none from not knowing. One that is missing or not understood names
    /// nobody.
    ///
    /// # Errors
    /// There may be one, and it cannot be read.
    pub fn find(home: &Home) -> io::Result<Option<Self>> {
        match platform::read_small(&Self::path(home), MAX_FILE_BYTES) {
            Ok(text) => {
                Ok(serde_json::from_slice(&text).ok().filter(|state: &Self| state.schema == STATE_SCHEMA))
            }
            Err(error) => match error.kind() {
                // The last is what is said of something too large, or that is no file.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData => {
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    /// Writes the file as a whole or not at all.
    pub fn write(&self, home: &Home) -> io::Result<()> {
        let path = Self::path(home);
        let written = || {
            let run = home.run();
            platform::create_private_dir(&run)?;
            // A temporary file of this library is readable by its owner only.
            let mut file = tempfile::NamedTempFile::new_in(&run)?;
            file.as_file_mut().write_all(&serde_json::to_vec_pretty(self)?)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        // Under the name that says something to a person.
        written().map_err(|error: io::Error| {
            io::Error::new(error.kind(), format!("cannot write `{}`: {error}", path.display()))
        })
    }

    /// Removes the file: nobody is to be asked any more.
    ///
    /// What somebody who was killed had half written beside it goes as well. Only for who holds the supervisor's lock: then
    /// nobody writes there.
    pub fn remove(home: &Home) {
        let _ = fs_err::remove_file(Self::path(home));
        for path in half_written(home) {
            let _ = fs_err::remove_file(path);
        }
    }
}

/// Files that were to be renamed to one of those in `run/`, by a process that may be gone.
pub(super) fn half_written(home: &Home) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.run()).into_iter().flatten().flatten();
    // The name that the library gives a temporary file.
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".tmp"))
        .map(|entry| entry.path())
        .collect()
}

/// Ends what a supervisor that was killed has left behind: the processes it recorded and all below them, and those that
/// still carry the mark of its run. Says in the log which they were, and gives their ids. Only for who holds the
/// supervisor's lock: then nobody looks after them any more.
pub fn end_leftovers(home: &Home) -> Vec<u32> {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(2);
    let Some(state) = ServerState::read(home) else { return Vec::new() };
    let boot = platform::boot_id();
    let (ours, others): (Vec<Identity>, Vec<Identity>) = state
        .children
        .into_iter()
        .filter(|child| child.boot == boot && platform::process_started(child.pid).is_some())
        .partition(Identity::is_alive);
    let mut all: Vec<platform::Ending> =
        ours.iter().map(|child| platform::end_tree(child.pid, child.started, LIMIT)).collect();
    // An instance without a name would be everybody's.
    if !state.instance.is_empty() {
        all.push(platform::end_marked(&instance::mark(&state.instance), LIMIT));
    }
    let ended: Vec<u32> = all.iter().flat_map(|ending| ending.ended.iter().copied()).collect();
    let left: Vec<u32> = all.iter().flat_map(|ending| ending.left.iter().copied()).collect();
    let others: Vec<u32> = others.iter().map(|child| child.pid).collect();
    if let Ok(sink) = Sink::open(logs::file(&home.logs(), SUPERVISOR), SUPERVISOR) {
        for (words, pids) in [
            ("ended processes that a killed supervisor left behind", &ended),
            ("cannot end processes that a killed supervisor left behind", &left),
            ("left processes alone that have the recorded ids and are not the recorded ones", &others),
        ] {
            if !pids.is_empty() {
                sink.event(&format!("{words}: {pids:?}"));
            }
        }
    }
    ended
}

/// When something was last logged in `home`: the closest thing to the hour of a death nobody recorded.
pub fn last_sign_of_life(home: &Home) -> Option<SystemTime> {
    fs_err::read_dir(home.logs())
        .ok()?
        .flatten()
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_rubbish_names_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path());
        assert_eq!(ServerState::read(&home), None);
        let state = ServerState {
            schema: STATE_SCHEMA,
            instance: "i".to_owned(),
            identity: Identity::own().expect("known"),
            control: ([127, 0, 0, 1], 1).into(),
            version: "0".to_owned(),
            executable: "/x".to_owned(),
            since: stigmer_protocol::time::now(),
            children: vec![Identity::own().expect("known")],
        };
        state.write(&home).expect("written");
        assert_eq!(ServerState::read(&home), Some(state));
        fs_err::write(home.run().join("server.json"), "{").expect("written");
        assert_eq!(ServerState::read(&home), None);
    }
}
