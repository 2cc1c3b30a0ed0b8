//! The end of everything, in the reverse order of its start, and who hears of it.

use super::Supervisor;
use crate::supervise::control::Reply;
use crate::supervise::fleet::Happening;
use crate::supervise::lifecycle::Phase;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

impl Supervisor {
    /// Ends everything in the reverse order of its start; calling it again changes nothing.
    pub(super) async fn begin_stop(&mut self) {
        self.happen(Happening::Stop).await;
        self.tell_watchers();
    }

    /// From now on, those who wait hear each second whom it waits for.
    pub(super) fn note_stop(&mut self) {
        if self.fleet.is_stopping() && self.stopping.is_none() {
            self.stopping = Some(Instant::now() + Duration::from_secs(1));
        }
    }

    pub(super) fn tell_watchers(&mut self) {
        let waiting_for: Vec<String> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(index, _)| self.fleet.phase(*index) == Phase::Stopping)
            .map(|(_, slot)| slot.name.to_owned())
            .collect();
        self.watchers.retain(|watcher| {
            match watcher.try_send(Reply::Stopping { waiting_for: waiting_for.clone() }) {
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            }
        });
    }
}
