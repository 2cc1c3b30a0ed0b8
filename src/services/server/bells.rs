//! Waking those who wait for something to happen to an execution, without telling them what: they read the journal.
//!
//! So nobody misses or repeats an event: a waiter asks for the bell first, reads second and waits third, and whatever is added in
//! between rings a bell that is listened to already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stigmer_protocol::ExecutionId;
use tokio::sync::Notify;

type Ringing = Mutex<HashMap<ExecutionId, (Arc<Notify>, usize)>>;

fn locked(ringing: &Ringing) -> MutexGuard<'_, HashMap<ExecutionId, (Arc<Notify>, usize)>> {
    // No caller can leave it half changed.
    ringing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One bell for each execution that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Bells(Arc<Ringing>);

/// The bell of one execution, for as long as somebody waits.
#[derive(Debug)]
pub(super) struct Bell {
    id: ExecutionId,
    notify: Arc<Notify>,
    all: Arc<Ringing>,
}

impl std::ops::Deref for Bell {
    type Target = Notify;

    fn deref(&self) -> &Notify {
        &self.notify
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut bells = locked(&self.all);
        if let Some((_, listeners)) = bells.get_mut(&self.id) {
            *listeners -= 1;
            if *listeners == 0 {
                bells.remove(&self.id);
            }
        }
    }
}

impl Bells {
    /// The bell of an execution. Listen (`notified().enable()`) before reading.
    pub(super) fn of(&self, id: &ExecutionId) -> Bell {
        let mut bells = locked(&self.0);
        let (bell, listeners) = bells.entry(id.clone()).or_default();
        *listeners += 1;
        Bell { id: id.clone(), notify: Arc::clone(bell), all: Arc::clone(&self.0) }
    }

    /// Wakes those who wait for these executions.
    pub(super) fn ring(&self, ids: &[ExecutionId]) {
        let bells = locked(&self.0);
        for (bell, _) in ids.iter().filter_map(|id| bells.get(id)) {
            bell.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_kept_while_somebody_waits() {
        let bells = Bells::default();
        let (first, second) = (bells.of(&"x".into()), bells.of(&"x".into()));
        assert!(Arc::ptr_eq(&first.notify, &second.notify));
        drop(first);
        assert_eq!(locked(&bells.0).len(), 1);
        drop(second);
        assert!(locked(&bells.0).is_empty());
    }
}
