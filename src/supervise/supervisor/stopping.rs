//! The end of everything, in the reverse order of its start, and who hears of it.

use super::Supervisor;
use crate::supervise::LaunchEvent;
use crate::supervise::control::Reply;
use crate::supervise::fleet::Happening;
use crate::supervise::last_end::Why;
use crate::supervise::lifecycle::Phase;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Two signals closer together than this are one press of a key: a wrapper passes on what the terminal has sent to the
/// whole group already.
const KEY_REPEAT_WINDOW: Duration = Duration::from_millis(200);

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

    /// The system, a person at the terminal or a service manager says that it is time to go. Who says so twice means
    /// now; the end of the terminal is not said twice, it only arrives so.
    pub(super) async fn signalled(&mut self, name: &str) {
        let again = self.signalled.is_some_and(|first| first.elapsed() >= KEY_REPEAT_WINDOW);
        if again && name != "SIGHUP" {
            self.sink.event(&format!("told again by {name}: everything ends at once"));
            self.stop_now().await;
        } else {
            self.sink.event(&format!("told to stop by {name}"));
            self.signalled.get_or_insert_with(Instant::now);
            self.why.get_or_insert(Why::Signal { signal: name.to_owned() });
            self.begin_stop().await;
        }
    }

    /// Ends everything at once: nobody is asked to finish any more.
    pub(super) async fn stop_now(&mut self) {
        self.happen(Happening::StopNow).await;
        self.tell_watchers();
    }

    pub(super) fn tell_watchers(&mut self) {
        let waiting_for: Vec<String> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(index, _)| self.fleet.phase(*index) == Phase::Stopping)
            .map(|(_, slot)| slot.spec.name.to_owned())
            .collect();
        self.tell(&LaunchEvent::Stopping { waiting_for: waiting_for.clone() });
        self.watchers.retain(|watcher| {
            match watcher.try_send(Reply::Stopping { waiting_for: waiting_for.clone() }) {
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            }
        });
    }
}
