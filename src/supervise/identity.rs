//! Processes, identified so that one cannot be mistaken for another.

use crate::platform;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

/// A process, identified by id, start time and boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Start time of the process, in the system's unit.
    pub started: u64,
    /// Boot that the process belongs to.
    pub boot: Option<String>,
}

impl Identity {
    /// Returns the identity of this process.
    ///
    /// # Errors
    /// The system does not report when this process started.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
            .ok_or_else(|| io::Error::other("cannot determine the start time of this process"))
    }

    /// Returns the identity of the process that has the id `pid` now.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: platform::process_started(pid)?, boot: platform::boot_id() })
    }

    /// Whether the process is running.
    pub fn is_alive(&self) -> bool {
        platform::process_started(self.pid) == Some(self.started) && self.boot == platform::boot_id()
    }

    /// Waits until the process has ended; returns `false` if it is still running after `limit`.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        platform::wait_for_end(self.pid, self.started, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_id_is_another_process() {
        let own = Identity::own().expect("known");
        assert!(own.is_alive());
        let earlier = Identity { started: own.started.wrapping_sub(1), ..own.clone() };
        assert!(!earlier.is_alive());
        let other_boot = Identity { boot: Some("another".to_owned()), ..own };
        assert!(!other_boot.is_alive());
    }
}
