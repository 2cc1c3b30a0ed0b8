//! A lock file that says who holds it and why.
//!
//! Trying first and waiting second, so that a wait can be announced before it begins; bounded, so that no start hangs on a file
//! system whose locks hang. Where locks do not exist the lock is simply not held, and says so; what that means is for the caller
//! to decide. Lock files are never deleted: unlinking one would let two processes hold "the" lock on two inodes.

use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

/// Who holds a lock, as written in its file. For people only: the lock is the truth.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; 0 if it has not said so yet.
    pub pid: u32,
    /// What it does.
    pub doing: String,
    /// Since when, in seconds since the epoch.
    pub since: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("another process");
        }
        write!(f, "process {} ({})", self.pid, self.doing)
    }
}

/// Why a lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it for as long as we were ready to wait.
    #[error("`{}` is still held by {holder} after {} s", path.display(), waited.as_secs())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, and why.
        holder: Holder,
        /// How long we waited.
        waited: Duration,
    },
    /// The file cannot be opened; the error names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    /// `None` where the file system has no locks.
    file: Option<File>,
}

impl Lock {
    /// Takes the lock at `path`, waiting at most `at_most`. Whom it waits for is told to `on_wait` before it does.
    ///
    /// # Errors
    /// [`LockError::Busy`] when the time is over; an I/O error if the file cannot be opened.
    pub fn acquire(
        path: &Path,
        doing: &str,
        at_most: Duration,
        on_wait: &mut dyn FnMut(&Holder),
    ) -> Result<Self, LockError> {
        let file = open(path)?;
        let contended = match try_exclusive(&file) {
            Ok(contended) => contended,
            Err(_unsupported) => return Ok(Self { file: None }),
        };
        if !contended {
            return Ok(Self::held(file, doing));
        }
        on_wait(&read_holder(path));
        // The wait itself is the system's, so that we wake the moment the lock is free. The thread outlives a timeout by
        // no more than this process does, and gives the lock back at once if nobody wants it any more.
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = fs2::FileExt::lock_exclusive(&file);
            let _ = sender.send(outcome.map(|()| file));
        });
        match receiver.recv_timeout(at_most) {
            Ok(Ok(file)) => Ok(Self::held(file, doing)),
            Ok(Err(_unsupported)) => Ok(Self { file: None }),
            Err(_) => {
                Err(LockError::Busy { path: path.to_owned(), holder: read_holder(path), waited: at_most })
            }
        }
    }

    /// Takes the lock at `path` if it is free; `None` if somebody holds it.
    pub fn try_acquire(path: &Path, doing: &str) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match try_exclusive(&file) {
            Ok(false) => Ok(Some(Self::held(file, doing))),
            Ok(true) => Ok(None),
            Err(_unsupported) => Ok(Some(Self { file: None })),
        }
    }

    /// Who holds the lock at `path` now; `None` if nobody does. Asks with a shared lock, which is let go at once.
    pub fn holder(path: &Path) -> Option<Holder> {
        let file = File::open(path).ok()?;
        match fs2::FileExt::try_lock_shared(&file) {
            Err(error) if is_contended(&error) => Some(read_holder(path)),
            _ => None,
        }
    }

    /// Whether the file system really locked something. If not, others may be at work at the same time.
    pub fn is_effective(&self) -> bool {
        self.file.is_some()
    }

    fn held(mut file: File, doing: &str) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let holder = Holder { pid: std::process::id(), doing: doing.to_owned(), since };
        // Only for people, so a full disk does not matter here.
        let _ = serde_json::to_vec(&holder).map_err(io::Error::from).and_then(|text| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&text)
        });
        Self { file: Some(file) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = file.set_len(0);
            let _ = fs2::FileExt::unlock(file);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Read and write: some network file systems refuse to lock what is not open for both.
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(file.into_parts().0)
}

/// `Ok(true)` if somebody else holds it; an error if there are no locks here.
fn try_exclusive(file: &File) -> io::Result<bool> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(false),
        Err(error) if is_contended(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether locking failed because somebody else holds the lock.
pub fn is_contended(error: &io::Error) -> bool {
    error.raw_os_error() == fs2::lock_contended_error().raw_os_error()
}

/// Who holds the lock at `path`, as far as its file says.
fn read_holder(path: &Path) -> Holder {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or(Holder {
        pid: 0,
        doing: String::new(),
        since: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn take(path: &Path, doing: &str) -> Lock {
        Lock::acquire(path, doing, LONG, &mut |_| ()).unwrap()
    }

    #[test]
    fn a_second_taker_is_told_who_holds_it_and_gets_it_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let first = take(&path, "making a test");
        assert!(Lock::try_acquire(&path, "no").unwrap().is_none());
        let (sender, waits) = mpsc::channel();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let mut on_wait = |holder: &Holder| sender.send(holder.clone()).unwrap();
                Lock::acquire(&path, "the second", LONG, &mut on_wait).unwrap()
            });
            let holder = waits.recv().unwrap();
            assert_eq!((holder.pid, holder.doing.as_str()), (std::process::id(), "making a test"));
            drop(first);
            assert!(second.join().unwrap().is_effective());
        });
    }

    #[test]
    fn patience_ends_and_the_holder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let _first = take(&path, "sitting on it");
        let error = Lock::acquire(&path, "in vain", Duration::ZERO, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("sitting on it") && error.contains("x.lock"), "{error}");
    }

    #[test]
    fn the_file_stays_when_the_lock_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        drop(take(&path, "x"));
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
