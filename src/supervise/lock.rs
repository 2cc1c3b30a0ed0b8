//! The two locks of `stigmer server`.
//!
//! `locks/server.lock` is held by the supervisor for its whole life: that is what makes it the only one of its home.
//! `locks/server-start.lock` is held by a launcher while it looks and starts, so that of many launchers
//! one starts and the others find what it started. A launcher never holds the first one: it would let go of it
//! on its exit, and a lock that its holder does not outlive protects nothing.

use crate::home::Home;
use crate::lock::{Holder, Lock, LockError};
use crate::platform;
use std::io;
use std::time::Duration;

/// The supervisor's lock.
pub(super) fn server(home: &Home, at_most: Duration) -> Result<Lock, LockError> {
    take(home, "server.lock", "supervising the platform", at_most, &mut |_| ())
}

/// The launchers' lock. Whom it waits for is told to `on_wait` before it does.
pub(super) fn start(
    home: &Home,
    at_most: Duration,
    on_wait: &mut dyn FnMut(&Holder),
) -> Result<Lock, LockError> {
    take(home, "server-start.lock", "starting the platform", at_most, on_wait)
}

/// The process that holds the supervisor's lock now, without waiting for it.
pub(super) fn holder_of_server(home: &Home) -> Option<u32> {
    Lock::holder(&home.locks().join("server.lock")).map(|holder| holder.pid)
}

/// Whether the system confirms that it is process `pid` that holds the supervisor's lock.
pub(super) fn server_is_held_by(home: &Home, pid: u32) -> bool {
    fs_err::metadata(home.locks().join("server.lock"))
        .is_ok_and(|meta| platform::lock_holders(&meta).contains(&pid))
}

/// Unlike the store, which publishes by rename, there is nothing here that would make up for a lock that does not lock.
fn take(
    home: &Home,
    name: &str,
    doing: &str,
    at_most: Duration,
    on_wait: &mut dyn FnMut(&Holder),
) -> Result<Lock, LockError> {
    let dir = home.locks();
    fs_err::create_dir_all(&dir)?;
    let path = dir.join(name);
    let lock = Lock::acquire(&path, doing, at_most, on_wait)?;
    if lock.is_effective() {
        return Ok(lock);
    }
    let text = format!("the file system of `{}` has no locks", path.display());
    Err(io::Error::new(io::ErrorKind::Unsupported, text).into())
}
