//! The end of everything, in the reverse order of its start, and who hears of it.

use super::{SERVER_INDEX, Supervisor};
use crate::supervise::control::Reply;
use crate::supervise::lifecycle::{Event, Phase};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

impl Supervisor {
    /// Ends everything in the reverse order of its start; calling it again changes nothing.
    pub(super) async fn begin_stop(&mut self) {
        self.start_deadline = None;
        if self.stopping.is_none() {
            self.stopping = Some(Instant::now() + Duration::from_secs(1));
            for index in SERVER_INDEX + 1..self.slots.len() {
                self.handle(index, Event::Stop).await;
            }
            self.continue_stop().await;
        }
        self.tell_watchers();
    }

    /// The server's turn comes when nobody needs it any more.
    pub(super) async fn continue_stop(&mut self) {
        let workers = &self.slots[SERVER_INDEX + 1..];
        if self.stopping.is_some() && workers.iter().all(|slot| slot.phase() == Phase::Stopped) {
            self.handle(SERVER_INDEX, Event::Stop).await;
        }
    }

    pub(super) fn tell_watchers(&mut self) {
        let waiting_for: Vec<String> = self
            .slots
            .iter()
            .filter(|slot| slot.phase() == Phase::Stopping)
            .map(|slot| slot.name.to_owned())
            .collect();
        self.watchers.retain(|watcher| {
            match watcher.try_send(Reply::Stopping { waiting_for: waiting_for.clone() }) {
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            }
        });
    }
}
