//! Hearing of forks, where orphans cannot be inherited: a child that is seen before it leaves its parent can be found again.
//!
//! Linux needs none of it: there a subreaper inherits whoever leaves. macOS has no such thing, and tells who forks instead
//! (kqueue(2), `EVFILT_PROC` with `NOTE_FORK`).

#[cfg(target_os = "macos")]
mod queue {
    use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
    use std::collections::BTreeSet;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    /// Processes whose forks and end wake whoever waits on the descriptor.
    #[derive(Debug)]
    pub struct Forks {
        queue: OwnedFd,
        watched: BTreeSet<u32>,
    }

    impl Forks {
        /// Nobody is watched yet.
        pub fn new() -> io::Result<Self> {
            Ok(Self { queue: kqueue()?, watched: BTreeSet::new() })
        }

        /// Readable when something happened; also when it is given to poll(2).
        pub fn wake(&self) -> Option<BorrowedFd<'_>> {
            Some(self.queue.as_fd())
        }

        /// Watches these, and forgets all others. Who has ended meanwhile is nobody to watch.
        pub fn watch(&mut self, pids: &[u32]) {
            self.watched.retain(|pid| pids.contains(pid));
            for pid in pids {
                if self.watched.contains(pid) {
                    continue;
                }
                let Some(raw) = crate::process_unix::to_pid(*pid) else { continue };
                let filter = EventFilter::Proc { pid: raw, flags: ProcessEvents::FORK | ProcessEvents::EXIT };
                let change = [Event::new(filter, EventFlags::ADD | EventFlags::CLEAR, std::ptr::null_mut())];
                let mut none: [Event; 0] = [];
                // SAFETY: the filter names a process and no descriptor, so nothing has to stay open for it.
                if unsafe { kevent(&self.queue, &change, &mut none[..], Some(Duration::ZERO)) }.is_ok() {
                    self.watched.insert(*pid);
                }
            }
        }

        /// Takes in what happened; the table of processes says the rest.
        pub fn take(&self) {
            let mut events: Vec<Event> = Vec::with_capacity(32);
            // SAFETY: nothing is added, so no descriptor has to stay open.
            while let Ok(count) = unsafe {
                kevent(&self.queue, &[], rustix::buffer::spare_capacity(&mut events), Some(Duration::ZERO))
            } {
                if count == 0 {
                    break;
                }
                events.clear();
            }
        }
    }
}

#[cfg(target_os = "macos")]
pub use queue::Forks;

/// Nothing has to be watched here.
#[cfg(not(target_os = "macos"))]
#[derive(Debug)]
pub struct Forks;

#[cfg(not(target_os = "macos"))]
impl Forks {
    /// Nobody is watched.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// There is nothing to wait for.
    pub fn wake(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    /// Nobody is watched.
    pub fn watch(&mut self, _pids: &[u32]) {}

    /// Nothing happened.
    pub fn take(&self) {}
}
