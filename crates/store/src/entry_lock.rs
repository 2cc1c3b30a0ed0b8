//! The lock of an entry, waited for with patience that the person can set.

use super::{Progress, StoreError};
use crate::lock::{Lock, LockError};
use std::path::Path;
use std::time::Duration;

/// How long to wait for a lock unless the person says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
/// The variable that says otherwise, in seconds.
const PATIENCE_VARIABLE: &str = "STIGMER_LOCK_TIMEOUT";

/// Takes the lock at `path`, and tells `progress` if that means waiting.
pub(super) fn take(path: &Path, doing: &str, progress: &dyn Progress) -> Result<Lock, StoreError> {
    let at_most = patience()?;
    Lock::acquire(path, doing, at_most, &mut |holder| progress.waiting(holder, at_most)).map_err(|error| {
        match error {
            LockError::Io(error) => error.into(),
            busy @ LockError::Busy { .. } => StoreError::Busy(busy),
        }
    })
}

fn patience() -> Result<Duration, StoreError> {
    let Some(set) = std::env::var_os(PATIENCE_VARIABLE).filter(|set| !set.is_empty()) else {
        return Ok(PATIENCE);
    };
    let seconds = set.to_str().and_then(|text| text.parse().ok());
    seconds.map(Duration::from_secs).ok_or(StoreError::Patience { variable: PATIENCE_VARIABLE, value: set })
}
