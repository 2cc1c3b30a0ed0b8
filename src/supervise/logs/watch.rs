//! When there may be something new in a directory.
//!
//! The system tells, through `inotify`, `FSEvents` or `ReadDirectoryChangesW`. It does not where the change is made on another machine
//! (NFS), where it has no watches left, or as long as there is no directory; so besides, one looks again after a while.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Time after which the files are read although the system has reported no change.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// The same where the system reports no changes.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A directory that is watched, or will be as soon as it exists.
#[derive(Debug)]
pub struct Watch {
    dir: PathBuf,
    tell: SyncSender<()>,
    told: Receiver<()>,
    /// What is watched, and what the directory was when that began: another one of the same name is not watched yet.
    watched: Option<(RecommendedWatcher, u64)>,
}

impl Watch {
    /// Watches `dir`.
    pub fn new(dir: &Path) -> Self {
        // One is enough to say that there is something.
        let (tell, told) = sync_channel(1);
        let mut watch = Self { dir: dir.to_owned(), tell, told, watched: None };
        watch.renew();
        watch
    }

    /// What ends a wait from another thread, as something new would.
    pub fn waker(&self) -> SyncSender<()> {
        self.tell.clone()
    }

    /// Waits until there may be something new since the last call.
    pub fn wait(&mut self) {
        if self.renew() {
            // What happened before the watch began is told by nobody.
            return;
        }
        let limit = if self.watched.is_some() { WATCH_TIMEOUT } else { POLL_INTERVAL };
        let _ = self.told.recv_timeout(limit);
    }

    /// Begins to watch, if that is needed and can be done now.
    fn renew(&mut self) -> bool {
        let present = std::fs::metadata(&self.dir).ok().map(|meta| crate::platform::evidence(&meta).inode);
        if self.watched.as_ref().map(|(_, known)| *known) == present {
            return false;
        }
        self.watched = None;
        let Some(present) = present else {
            return false;
        };
        let sender = self.tell.clone();
        let tell = move |event: notify::Result<Event>| {
            if is_change(&event) {
                let _ = sender.try_send(());
            }
        };
        self.watched = notify::recommended_watcher(tell)
            .and_then(|mut watcher| {
                watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
                Ok((watcher, present))
            })
            .ok();
        self.watched.is_some()
    }
}

/// Whether there may be something new. That somebody reads a log, as we do, is no change.
fn is_change(event: &notify::Result<Event>) -> bool {
    event.as_ref().map_or(true, |event| !matches!(event.kind, EventKind::Access(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Waits until the watch says something, well after it would have looked by itself if need be.
    fn told(watch: &mut Watch) -> bool {
        let limit = Instant::now() + Duration::from_secs(30);
        while Instant::now() < limit {
            if watch.renew() || watch.told.recv_timeout(Duration::from_millis(50)).is_ok() {
                return true;
            }
        }
        false
    }

    #[test]
    fn changes_are_told_also_in_a_directory_that_came_later_or_came_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = dir.path().join("logs");
        let mut watch = Watch::new(&logs);
        assert!(watch.watched.is_none());
        for round in 0..2 {
            fs_err::create_dir(&logs).expect("made");
            assert!(told(&mut watch), "{round}: the directory");
            fs_err::write(logs.join("a.log"), "one\n").expect("written");
            assert!(told(&mut watch), "{round}: a file");
            assert!(watch.watched.is_some());
            fs_err::remove_dir_all(&logs).expect("removed");
            while watch.watched.is_some() {
                watch.wait();
            }
        }
    }

    #[test]
    fn who_reads_is_not_told_of_it() {
        use notify::event::{AccessKind, AccessMode, ModifyKind};
        // Else following would wake itself up without end.
        assert!(!is_change(&Ok(Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any))))));
        assert!(is_change(&Ok(Event::new(EventKind::Modify(ModifyKind::Any)))));
        assert!(is_change(&Err(notify::Error::generic("some were lost"))));
    }
}
