//! The two locks of `stigmer server`.
//!
//! `locks/server.lock` is held by the supervisor for its whole life: that is what makes it the only one of its home.
//! `locks/server-start.lock` is held by a launcher while it looks and starts, so that of many launchers
//! one starts and the others find what it started. A launcher never holds the first one: it would let go of it
//! on its exit, and a lock that its holder does not outlive protects nothing. Lock files are never deleted.

use crate::home::Home;
use fs2::FileExt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("`{}` is held by {holder}", path.display())]
    Held {
        /// The lock.
        path: PathBuf,
        /// Who holds it, as far as that is known.
        holder: String,
    },
    /// It cannot be had at all.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    /// The supervisor's lock.
    pub fn server(home: &Home, limit: Duration) -> Result<Self, LockError> {
        Self::take(home, "server.lock", "supervisor", limit)
    }

    /// The launchers' lock.
    pub fn start(home: &Home, limit: Duration) -> Result<Self, LockError> {
        Self::take(home, "server-start.lock", "launcher", limit)
    }

    fn take(home: &Home, name: &str, purpose: &str, limit: Duration) -> Result<Self, LockError> {
        let dir = home.locks();
        fs_err::create_dir_all(&dir)?;
        let path = dir.join(name);
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?
            .into_file();
        let mut file = match file.try_lock_exclusive() {
            Ok(()) => file,
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => wait(file, limit)
                .ok_or_else(|| LockError::Held { holder: holder(&path), path: path.clone() })??,
            Err(error) => return Err(error.into()),
        };
        // For people who look into the file; the lock itself is the truth.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = writeln!(file, "{purpose} pid {} since {}", std::process::id(), super::logs::now());
        Ok(Self { _file: file })
    }
}

/// Waits for the lock in a thread, because the system's waiting knows no limit; the thread that waits in vain ends
/// with the process.
fn wait(file: File, limit: Duration) -> Option<io::Result<File>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = FileExt::lock_exclusive(&file).map(|()| file);
        // If nobody waits any more, the lock is dropped here.
        let _ = sender.send(outcome);
    });
    receiver.recv_timeout(limit).ok()
}

fn holder(path: &std::path::Path) -> String {
    let pids = std::fs::metadata(path).map(|meta| crate::platform::lock_holders(&meta)).unwrap_or_default();
    let said = std::fs::read_to_string(path).unwrap_or_default();
    match (pids.first(), said.trim()) {
        (Some(pid), _) => format!("process {pid}"),
        (None, "") => "another process".to_owned(),
        (None, said) => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_names_its_holder_and_passes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path());
        let first = Lock::server(&home, Duration::ZERO).expect("free");
        let second = Lock::server(&home, Duration::from_millis(10));
        let Err(LockError::Held { holder, .. }) = second else {
            unreachable!("it is held");
        };
        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        drop(first);
        Lock::server(&home, Duration::from_secs(5)).expect("free again");
    }
}
