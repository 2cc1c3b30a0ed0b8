//! The executions in work, and what each of them has still to say.
//!
//! Events are numbered when they happen and sent in that order, by one thread at a time; what was sent and not acknowledged is sent
//! again, and the server knows it by its number.

use super::RETRY;
use super::client::{Answer, PATIENCE, Server};
use crate::workflow::engine::{Outcome, Stop};
use crate::workflow::journaled::Entry;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stigmer_protocol::api::leases::LeaseState;
use stigmer_protocol::component::ComponentConfig;
use stigmer_protocol::redact::Redactor;
use ureq::tls::TlsConfig;

/// About so many bytes of events are sent at once: the server takes 2 MiB.
const BATCH: usize = 1024 * 1024;

/// What the threads of a worker share.
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) redactor: Redactor,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) tls: TlsConfig,
    pause: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ending: bool,
    /// The id under which the server knows this worker.
    id: Option<String>,
    running: HashMap<String, Arc<Work>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody leaves one half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(config: &ComponentConfig) -> Self {
        Self {
            server: Server::new(config),
            redactor: Redactor::new(&config.token, &config.environment),
            secrets: config.environment.values(),
            tls: super::http::tls(),
            pause: Duration::from_millis(config.heartbeat_ms),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Whether it is time to end, or becomes so in the next `pause`.
    pub(super) fn is_end(&self, pause: Duration) -> bool {
        let state = locked(&self.state);
        let waited = self.changed.wait_timeout_while(state, pause, |state| !state.ending);
        waited.unwrap_or_else(PoisonError::into_inner).0.ending
    }

    /// It is time to end.
    pub(super) fn end(&self) {
        let mut state = locked(&self.state);
        state.ending = true;
        for work in state.running.values() {
            work.signal(|signals| signals.ending = true);
        }
        self.changed.notify_all();
    }

    pub(super) fn known_as(&self, id: Option<&str>) {
        let mut state = locked(&self.state);
        if state.id.as_deref() != id {
            state.id = id.map(str::to_owned);
            self.changed.notify_all();
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        !locked(&self.state).running.is_empty()
    }

    /// Returns when there is room for another execution, with the id of this worker; nothing if it is time to end.
    pub(super) fn wait_for_room(&self, most: usize) -> Option<String> {
        let mut state = locked(&self.state);
        loop {
            if state.ending {
                return None;
            }
            if let Some(id) = state.id.as_ref().filter(|_| state.running.len() < most) {
                return Some(id.clone());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns when nothing is in work any more.
    pub(super) fn wait_until_idle(&self) {
        let state = locked(&self.state);
        let waited = self.changed.wait_while(state, |state| !state.running.is_empty());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn add(&self, work: &Arc<Work>) {
        let mut state = locked(&self.state);
        if state.ending {
            work.signal(|signals| signals.ending = true);
        }
        state.running.insert(work.lease.clone(), Arc::clone(work));
        self.changed.notify_all();
    }

    pub(super) fn remove(&self, work: &Work) {
        locked(&self.state).running.remove(&work.lease);
        self.changed.notify_all();
    }

    /// Says of each execution that it is in work, for ever: also at the end, as long as something is.
    pub(super) fn pulse(&self) {
        loop {
            let mut running: Vec<Arc<Work>> = Vec::new();
            {
                let state = locked(&self.state);
                let waited = self.changed.wait_while(state, |state| state.running.is_empty());
                let state = waited.unwrap_or_else(PoisonError::into_inner);
                running.extend(state.running.values().cloned());
            }
            let begun = Instant::now();
            for work in running {
                // A server that does not answer one does not answer the others.
                if !work.beat(&self.server) {
                    break;
                }
            }
            std::thread::sleep(self.pause.saturating_sub(begun.elapsed()));
        }
    }
}

/// An event on its way.
#[derive(Debug, Clone)]
struct Event {
    n: u64,
    body: Value,
    bytes: usize,
}

/// An execution in work.
pub(super) struct Work {
    pub(super) lease: String,
    signals: Mutex<Signals>,
    changed: Condvar,
    waiting: Mutex<(u64, VecDeque<Event>)>,
    /// Held by whoever sends.
    sending: Mutex<()>,
}

/// What an execution has to hear of.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// It is called off.
    pub(super) cancelled: bool,
    /// Somebody else has it.
    pub(super) lost: bool,
    /// The worker ends.
    pub(super) ending: bool,
    /// What came of the effect with this number.
    pub(super) outcome: Option<(u64, Outcome)>,
    /// The number of the last effect.
    pub(super) effects: u64,
    /// What the server will not take.
    pub(super) refused: Option<String>,
}

impl Work {
    pub(super) fn new(lease: String, cancelled: bool) -> Self {
        let signals = Signals { cancelled, ..Signals::default() };
        Self {
            lease,
            signals: Mutex::new(signals),
            changed: Condvar::new(),
            waiting: Mutex::default(),
            sending: Mutex::default(),
        }
    }

    pub(super) fn signal<T>(&self, change: impl FnOnce(&mut Signals) -> T) -> T {
        let result = change(&mut locked(&self.signals));
        self.changed.notify_all();
        result
    }

    /// Waits until `look` has seen what it waits for, or for so long.
    pub(super) fn wait<T>(
        &self,
        limit: Option<Duration>,
        mut look: impl FnMut(&mut Signals) -> Option<T>,
    ) -> Option<T> {
        let mut signals = locked(&self.signals);
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(seen) = look(&mut signals) {
                return Some(seen);
            }
            signals = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(signals).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    self.changed.wait_timeout(signals, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Whether the execution goes on.
    pub(super) fn goes_on(&self) -> Result<(), Stop> {
        let signals = locked(&self.signals);
        if signals.lost || signals.refused.is_some() {
            Err(Stop::Left)
        } else if signals.cancelled {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }

    pub(super) fn refused(&self) -> Option<String> {
        locked(&self.signals).refused.clone()
    }

    /// Something happened. It is sent with the next heartbeat at the latest.
    pub(super) fn say(&self, entries: Vec<Entry>) {
        let mut waiting = locked(&self.waiting);
        for entry in entries {
            waiting.0 += 1;
            let n = waiting.0;
            let body = json!({"n": n, "type": entry.kind, "task": entry.task, "data": entry.data});
            let bytes = body.to_string().len();
            waiting.1.push_back(Event { n, body, bytes });
        }
    }

    fn batch(&self) -> Vec<Value> {
        let waiting = locked(&self.waiting);
        let mut bytes = 0;
        let fits = waiting.1.iter().take_while(|event| {
            let first = bytes == 0;
            bytes += event.bytes;
            first || bytes <= BATCH
        });
        fits.map(|event| event.body.clone()).collect()
    }

    fn sent(&self, last_n: u64) {
        locked(&self.waiting).1.retain(|event| event.n > last_n);
    }

    fn is_all_sent(&self) -> bool {
        locked(&self.waiting).1.is_empty()
    }

    /// Sends what waits, once. Whoever calls holds `sending`.
    fn send(&self, server: &Server) -> Answer<LeaseState> {
        let body = json!({ "events": self.batch() });
        let answer =
            server.post::<LeaseState>(&format!("/v1/leases/{}/heartbeat", self.lease), &body, 5 * PATIENCE);
        match &answer {
            Answer::Accepted(heard) => {
                self.sent(heard.last_n);
                if heard.cancel {
                    self.signal(|signals| signals.cancelled = true);
                }
            }
            Answer::Gone | Answer::Unknown(_) => self.signal(|signals| signals.lost = true),
            Answer::Refused(_, words) => self.signal(|signals| signals.refused = Some(words.clone())),
            Answer::Silence => {}
        }
        answer
    }

    /// Says that it is in work. `false` if nobody listens.
    fn beat(&self, server: &Server) -> bool {
        // Whoever is sending says the same.
        let Ok(_sending) = self.sending.try_lock() else { return true };
        !matches!(self.send(server), Answer::Silence)
    }

    /// Returns when everything that was said has arrived.
    pub(super) fn settle(&self, server: &Server) -> Result<(), Stop> {
        let _sending = locked(&self.sending);
        loop {
            self.goes_on()?;
            if self.is_all_sent() {
                return Ok(());
            }
            if matches!(self.send(server), Answer::Silence) {
                // The server is away. As long as this worker lives, it comes back to it.
                let is_over = |signals: &mut Signals| (signals.lost || signals.ending).then_some(());
                if self.wait(Some(RETRY), is_over).is_some() {
                    return Err(Stop::Left);
                }
            }
        }
    }

    /// Says how it ended. Gives what the server has against it.
    pub(super) fn end(&self, server: &Server, word: &str, body: &Value) -> Result<(), String> {
        // That it is called off is no reason not to say how it ended.
        let _sending = locked(&self.sending);
        loop {
            let is_last = self.is_all_sent();
            let silence = if is_last {
                let path = format!("/v1/leases/{}/{word}", self.lease);
                match server.post::<Value>(&path, body, 5 * PATIENCE) {
                    Answer::Accepted(_) | Answer::Gone | Answer::Unknown(_) => return Ok(()),
                    Answer::Refused(_, words) => return Err(words),
                    Answer::Silence => true,
                }
            } else {
                match self.send(server) {
                    Answer::Accepted(_) => false,
                    Answer::Gone | Answer::Unknown(_) => return Ok(()),
                    Answer::Refused(_, words) => {
                        locked(&self.waiting).1.clear();
                        return Err(words);
                    }
                    Answer::Silence => true,
                }
            };
            if silence && self.wait(Some(RETRY), |signals| signals.ending.then_some(())).is_some() {
                return Ok(());
            }
        }
    }
}
