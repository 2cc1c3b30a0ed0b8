//! A lease: a shared lock that says an entry is in use.
//!
//! Taken without waiting and held by whoever runs from the entry, through `exec` if need be, so that it ends with the process,
//! however that ends. Its file's modification time is the entry's last use; it is moved at most once an hour, so
//! that a start writes nothing.

use crate::lock::is_contended;
use fs_err as fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How exact the time of last use is.
const GRAIN: Duration = Duration::from_secs(3600);

/// A lease, held until dropped. It may hold nothing where the file system has no locks or cannot be written.
#[derive(Debug)]
pub struct Lease {
    file: Option<File>,
}

/// What became of trying to take a lease.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is held.
    Held(Lease),
    /// The entry is just being removed.
    Refused,
}

impl Lease {
    /// Takes the lease at `path` without waiting, and notes that the entry is used now.
    pub(super) fn take(path: &Path) -> Taken {
        let taken = Self::hold(path);
        if let Taken::Held(Self { file: Some(file) }) = &taken {
            note_use(file);
        }
        taken
    }

    /// Takes the lease at `path` without waiting, only to keep the entry while looking at it: it is no more used than before.
    pub(super) fn hold(path: &Path) -> Taken {
        let Ok(file) = open(path) else {
            return Taken::Held(Self { file: None });
        };
        match fs2::FileExt::try_lock_shared(&file) {
            Ok(()) => Taken::Held(Self { file: Some(file) }),
            Err(error) if is_contended(&error) => Taken::Refused,
            Err(_unsupported) => Taken::Held(Self { file: None }),
        }
    }

    /// A lease that holds nothing.
    pub(super) fn none() -> Self {
        Self { file: None }
    }

    /// Takes the lease exclusively, to remove the entry: `None` if it is in use.
    pub(super) fn take_exclusive(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(Self { file: Some(file) })),
            Err(error) if is_contended(&error) => Ok(None),
            // Without locks nobody can say whether it is in use, so it is left alone.
            Err(_unsupported) => Ok(None),
        }
    }

    /// Lets the lease live on in the program this process becomes.
    pub fn keep_over_exec(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), stigmer_platform::keep_over_exec)
    }
}

/// When the lease at `path` was last taken.
pub(super) fn last_use(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// The processes that hold the lease at `path`, as far as the system tells.
pub(super) fn holders(path: &Path) -> Vec<u32> {
    path.metadata().map(|meta| stigmer_platform::lock_holders(&meta)).unwrap_or_default()
}

fn open(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(fs::OpenOptions::new().read(true).append(true).create(true).open(path)?.into_parts().0)
        }
        other => other,
    }
}

fn note_use(file: &File) {
    let now = SystemTime::now();
    let last = file.metadata().and_then(|meta| meta.modified());
    // A time in the future is a clock that was wrong; it is put right.
    let is_recent = last.is_ok_and(|last| now.duration_since(last).is_ok_and(|age| age < GRAIN));
    if !is_recent {
        // On a read-only file system the last use is not kept; nothing is collected there either.
        let _ = file.set_modified(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_by_many_and_exclusive_by_none_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        let (one, two) = (Lease::take(&path), Lease::take(&path));
        assert!(Lease::take_exclusive(&path).unwrap().is_none());
        drop((one, two));
        let exclusive = Lease::take_exclusive(&path).unwrap();
        assert!(exclusive.is_some());
        assert!(matches!(Lease::take(&path), Taken::Refused));
    }

    #[test]
    fn taking_it_again_within_the_hour_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        drop(Lease::take(&path));
        let earlier = SystemTime::now() - Duration::from_secs(1800);
        File::options().append(true).open(&path).unwrap().set_modified(earlier).unwrap();
        drop(Lease::take(&path));
        assert_eq!(last_use(&path), Some(earlier));
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        drop(Lease::take(&path));
        assert!(last_use(&path).unwrap() > earlier);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_holder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        assert_eq!(holders(&path), Vec::<u32>::new());
        let _lease = Lease::take(&path);
        assert_eq!(holders(&path), vec![std::process::id()]);
    }
}
