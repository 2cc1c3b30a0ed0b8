//! The lock of an entry, with a bounded wait that is announced.

use super::{Place, Progress, StoreError};
use crate::lock::{Lock, LockError};

/// Takes the lock of the entry at `place`, and reports to `progress` if that means waiting.
///
/// # Errors
/// [`StoreError::Busy`] if the lock is still held after [`Root::lock_timeout`](crate::Root::lock_timeout).
pub(super) fn take(place: &Place, doing: &str, progress: &dyn Progress) -> Result<Lock, StoreError> {
    let timeout = place.root().lock_timeout();
    Lock::acquire(&place.lock(), doing, timeout, &mut |holder| progress.waiting(holder, timeout)).map_err(
        |error| match error {
            LockError::Io(error) => error.into(),
            busy @ LockError::Busy { .. } => StoreError::Busy(busy),
        },
    )
}
