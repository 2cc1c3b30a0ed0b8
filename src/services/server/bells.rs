//! Waking those who wait for something to happen to an execution, without telling them what: they read the journal.
//!
//! That is why nobody misses or repeats an event: who waits asks for the bell first, reads second and waits third, so whatever
//! is added in between rings a bell that is listened to already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use stigmer_protocol::ExecutionId;
use tokio::sync::Notify;

/// One bell for each execution that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<HashMap<ExecutionId, Arc<Notify>>>);

impl Bells {
    /// The bell of an execution. Listen (`notified().enable()`) before reading.
    pub(super) fn of(&self, id: &ExecutionId) -> Arc<Notify> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else holds the bells that nobody listens to any more.
        bells.retain(|_, bell| Arc::strong_count(bell) > 1);
        Arc::clone(bells.entry(id.clone()).or_default())
    }

    /// Something happened to these executions.
    pub(super) fn ring(&self, ids: &[ExecutionId]) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in ids.iter().filter_map(|id| bells.get(id)) {
            bell.notify_waiters();
        }
    }
}
