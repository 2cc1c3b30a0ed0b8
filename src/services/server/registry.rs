//! Who works for the server, and who was heard of lately. Pure: the time is an argument, and it is the monotonic one, so
//! that neither a suspended machine's clock nor a corrected one makes a worker look dead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use stigmer_protocol::WorkerId;
use stigmer_protocol::api::workers::Registration;
use stigmer_protocol::api::{WorkerState, WorkerStatus};

/// A worker that was heard of longer ago than this many heartbeats is stale.
const MISSED: u32 = 5;

/// A worker that is stale for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// More workers than this at once are a mistake of somebody's.
const MOST: usize = 1000;

#[derive(Debug)]
struct Worker {
    registration: Registration,
    state: WorkerState,
    heard: Instant,
}

/// The workers.
#[derive(Debug)]
pub struct Registry {
    workers: BTreeMap<WorkerId, Worker>,
    expires: Duration,
}

impl Registry {
    /// A registry for workers that heartbeat every `heartbeat`.
    pub fn new(heartbeat: Duration) -> Self {
        Self { workers: BTreeMap::new(), expires: heartbeat * MISSED }
    }

    /// After what silence a worker is stale.
    pub fn expires(&self) -> Duration {
        self.expires
    }

    /// Takes a worker in under the new id `id`; `false` if there are too many.
    pub fn register(&mut self, id: WorkerId, registration: Registration, now: Instant) -> bool {
        self.forget(now);
        if self.workers.len() >= MOST {
            return false;
        }
        // A process that registers again has lost its earlier self.
        self.workers.retain(|_, known| {
            known.registration.pid != registration.pid || known.registration.kind != registration.kind
        });
        let worker = Worker { registration, state: WorkerState::Idle, heard: now };
        self.workers.insert(id, worker);
        true
    }

    /// Hears from a worker what it does; `false` if it is not known.
    pub fn heartbeat(&mut self, id: &WorkerId, state: WorkerState, now: Instant) -> bool {
        let is_known = self.hear(id, now);
        if let Some(worker) = self.workers.get_mut(id) {
            worker.state = state;
        }
        is_known
    }

    /// Hears of a worker, but not what it does; `false` if it is not known.
    pub fn hear(&mut self, id: &WorkerId, now: Instant) -> bool {
        self.forget(now);
        self.workers.get_mut(id).map(|worker| worker.heard = now).is_some()
    }

    /// Lets a worker go. That it is not known is no error: then it is gone already.
    pub fn remove(&mut self, id: &WorkerId) {
        self.workers.remove(id);
    }

    /// All workers, the first one registered first.
    pub fn view(&mut self, now: Instant) -> Vec<WorkerStatus> {
        self.forget(now);
        self.workers
            .iter()
            .map(|(id, worker)| {
                let age = now.saturating_duration_since(worker.heard);
                WorkerStatus {
                    id: id.clone(),
                    kind: worker.registration.kind.clone(),
                    version: worker.registration.version.clone(),
                    pid: worker.registration.pid,
                    state: if age > self.expires { WorkerState::Stale } else { worker.state },
                    heartbeat_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }

    fn forget(&mut self, now: Instant) {
        let limit = self.expires + FORGOTTEN_AFTER;
        self.workers.retain(|_, worker| now.saturating_duration_since(worker.heard) <= limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(pid: u32) -> Registration {
        Registration { kind: "agent-runner".to_owned(), version: "1".to_owned(), pid, instance: "i".into() }
    }

    #[test]
    fn silence_makes_a_worker_stale_and_then_forgotten() {
        let start = Instant::now();
        let mut registry = Registry::new(Duration::from_secs(1));
        assert!(registry.register("w-1".into(), registration(1), start));
        let state = |registry: &mut Registry, seconds: u64| {
            let view = registry.view(start + Duration::from_secs(seconds));
            view.first().map(|worker| worker.state)
        };
        assert_eq!(state(&mut registry, 5), Some(WorkerState::Idle));
        assert_eq!(state(&mut registry, 6), Some(WorkerState::Stale));
        let later = start + Duration::from_secs(7);
        assert!(registry.heartbeat(&"w-1".into(), WorkerState::Busy, later));
        assert!(registry.hear(&"w-1".into(), later), "asking for more work does not say that there is none");
        assert_eq!(state(&mut registry, 8), Some(WorkerState::Busy));
        assert_eq!(state(&mut registry, 72), Some(WorkerState::Stale));
        assert_eq!(state(&mut registry, 73), None);
        assert!(!registry.heartbeat(&"w-1".into(), WorkerState::Idle, start + Duration::from_secs(74)));
    }

    #[test]
    fn a_worker_that_registers_again_is_one_worker() {
        let now = Instant::now();
        let mut registry = Registry::new(Duration::from_secs(1));
        registry.register("w-1".into(), registration(1), now);
        registry.register("w-2".into(), registration(1), now);
        registry.register("w-3".into(), registration(2), now);
        let ids: Vec<WorkerId> = registry.view(now).into_iter().map(|w| w.id).collect();
        assert_eq!(ids, ["w-2", "w-3"]);
        registry.remove(&"w-2".into());
        registry.remove(&"w-2".into());
        assert_eq!(registry.view(now).len(), 1);
    }

    #[test]
    fn there_is_a_limit() {
        let now = Instant::now();
        let mut registry = Registry::new(Duration::from_secs(1));
        for pid in 0..1000 {
            assert!(registry.register(format!("w-{pid}").into(), registration(pid), now));
        }
        assert!(!registry.register("w-x".into(), registration(5000), now));
    }
}
