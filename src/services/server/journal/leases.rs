//! Which worker holds which execution, and until when.
//!
//! Who holds what stands in the database; until when is kept here, by the monotonic clock, so that neither a corrected clock
//! nor a suspended machine takes work away from a living worker. After a restart of the server every lease begins anew.

use super::{ExecutionId, LeaseId, WorkerId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
struct Held {
    execution: ExecutionId,
    worker: WorkerId,
    until: Instant,
    cancel: bool,
    last_n: u64,
    /// It is over, though the database does not say so yet.
    is_over: bool,
    /// Its worker said goodbye.
    is_given_back: bool,
}

/// The leases that hold now.
#[derive(Debug)]
pub struct Leases {
    held: HashMap<LeaseId, Held>,
    length: Duration,
}

impl Leases {
    /// No leases yet; each will hold for `length` without a heartbeat.
    pub fn new(length: Duration) -> Self {
        Self { held: HashMap::new(), length }
    }

    /// For how long a lease holds without a heartbeat.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// A lease was given.
    pub fn grant(
        &mut self,
        lease: &LeaseId,
        execution: &ExecutionId,
        worker: &WorkerId,
        cancel: bool,
        last_n: u64,
        now: Instant,
    ) {
        let (execution, worker) = (execution.clone(), worker.clone());
        let held = Held {
            execution,
            worker,
            until: now + self.length,
            cancel,
            last_n,
            is_over: false,
            is_given_back: false,
        };
        self.held.insert(lease.clone(), held);
    }

    /// Its worker was heard of. Gives what it has to know: whether the execution is called off, and the last event of this lease
    /// that arrived. `None` if the lease does not hold any more.
    pub fn renew(&mut self, lease: &LeaseId, now: Instant) -> Option<(bool, u64)> {
        let held = self.held.get_mut(lease)?;
        if held.until <= now || held.is_over {
            // It will be taken away in a moment; nobody has done so yet, but two must not both believe they hold it.
            return None;
        }
        held.until = now + self.length;
        Some((held.cancel, held.last_n))
    }

    /// Events of a lease arrived, up to its `last_n`th.
    pub fn arrived(&mut self, lease: &LeaseId, last_n: u64) {
        if let Some(held) = self.held.get_mut(lease) {
            held.last_n = held.last_n.max(last_n);
        }
    }

    /// An execution is called off.
    pub fn cancel(&mut self, execution: &ExecutionId) {
        for held in self.held.values_mut().filter(|held| held.execution == *execution) {
            held.cancel = true;
        }
    }

    /// A lease has come to its end.
    pub fn release(&mut self, lease: &LeaseId) {
        self.held.remove(lease);
    }

    /// A worker has gone: its leases are over.
    pub fn abandon(&mut self, worker: &WorkerId, now: Instant) {
        for held in self.held.values_mut().filter(|held| held.worker == *worker) {
            held.until = now;
            held.is_given_back = true;
        }
    }

    /// Whether the worker of a lease said goodbye.
    pub fn is_given_back(&self, lease: &LeaseId) -> bool {
        self.held.get(lease).is_some_and(|held| held.is_given_back)
    }

    /// A lease that is over could not be taken away: that is tried again later.
    pub fn postpone(&mut self, lease: &LeaseId, now: Instant) {
        if let Some(held) = self.held.get_mut(lease) {
            held.until = now + self.length;
            held.is_over = true;
        }
    }

    /// The leases that are over, with their executions.
    pub fn expired(&self, now: Instant) -> Vec<(LeaseId, ExecutionId)> {
        let over = self.held.iter().filter(|(_, held)| held.until <= now);
        over.map(|(lease, held)| (lease.clone(), held.execution.clone())).collect()
    }

    /// When the next one will be over if nobody is heard of.
    pub fn next_end(&self) -> Option<Instant> {
        self.held.values().map(|held| held.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_as_long_as_its_worker_is_heard_of() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut leases = Leases::new(10 * second);
        leases.grant(&"l".into(), &"x".into(), &"w".into(), false, 0, start);
        assert_eq!(leases.renew(&"l".into(), start + 9 * second), Some((false, 0)));
        assert!(leases.expired(start + 18 * second).is_empty());
        assert_eq!(leases.expired(start + 19 * second), [("l".into(), "x".into())]);
        assert_eq!(
            leases.renew(&"l".into(), start + 19 * second),
            None,
            "too late, even before it is taken away"
        );
        leases.release(&"l".into());
        assert_eq!(leases.next_end(), None);
    }

    #[test]
    fn a_lease_hears_of_a_cancellation_and_of_its_workers_end() {
        let now = Instant::now();
        let mut leases = Leases::new(Duration::from_secs(10));
        leases.grant(&"l".into(), &"x".into(), &"w".into(), false, 3, now);
        leases.cancel(&"x".into());
        leases.arrived(&"l".into(), 5);
        leases.arrived(&"l".into(), 4);
        assert_eq!(leases.renew(&"l".into(), now), Some((true, 5)));
        leases.abandon(&"other".into(), now);
        assert!(leases.expired(now).is_empty());
        assert!(!leases.is_given_back(&"l".into()));
        leases.abandon(&"w".into(), now);
        assert!(leases.is_given_back(&"l".into()));
        assert_eq!(leases.expired(now).len(), 1);
    }
}
