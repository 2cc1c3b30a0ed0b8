//! What an execution has to report to the server, and how it hears of cancellation.
//!
//! Events are numbered when they happen and sent in that order, by one request at a time. What was sent and not acknowledged is sent
//! again; the server recognizes it by its number.

use super::RETRY_INTERVAL;
use super::client::{Answer, Server, WRITE_TIMEOUT};
use crate::workflow::engine::Stop;
use crate::workflow::journaled::Entry;
use serde::Serialize;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use stigmer_protocol::Json;
use stigmer_protocol::api::events::ReportedEvent;
use stigmer_protocol::api::leases::{LeaseHeartbeat, LeaseState};
use tokio::sync::{Mutex, Notify};

/// Largest size of the events in one request, in bytes: the server takes 2 MiB.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Size of an event without its data, in bytes, about.
const EVENT_BYTES: usize = 128;

/// An execution under way: its lease, its unsent events, and its signals.
pub(super) struct Work {
    pub(super) lease: String,
    signals: Cell<Signals>,
    /// What the server will not accept.
    refusal: RefCell<Option<String>>,
    changed: Notify,
    /// Number of the last event.
    last_n: Cell<u64>,
    unsent: RefCell<VecDeque<ReportedEvent>>,
    /// Held by whoever sends.
    sending: Mutex<()>,
    last_sent: Cell<Instant>,
}

/// What has happened to an execution from outside.
#[derive(Debug, Clone, Copy, Default)]
struct Signals {
    /// Cancellation was requested.
    cancelled: bool,
    /// The lease has expired.
    lost: bool,
    /// The worker shuts down.
    ending: bool,
}

impl Work {
    pub(super) fn new(lease: String, is_cancelled: bool) -> Self {
        Self {
            lease,
            signals: Cell::new(Signals { cancelled: is_cancelled, ..Signals::default() }),
            refusal: RefCell::default(),
            changed: Notify::new(),
            last_n: Cell::new(0),
            unsent: RefCell::default(),
            sending: Mutex::default(),
            last_sent: Cell::new(Instant::now()),
        }
    }

    fn signal(&self, change: impl FnOnce(&mut Signals)) {
        let mut signals = self.signals.get();
        change(&mut signals);
        self.signals.set(signals);
        self.changed.notify_waiters();
    }

    /// Tells the execution that the worker shuts down.
    pub(super) fn end_soon(&self) {
        self.signal(|signals| signals.ending = true);
    }

    fn refuse(&self, reason: String) {
        *self.refusal.borrow_mut() = Some(reason);
        self.changed.notify_waiters();
    }

    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    /// Whether another worker continues the execution, now or later.
    pub(super) fn is_left(&self) -> bool {
        let signals = self.signals.get();
        signals.lost || signals.ending
    }

    /// Fails if the execution does not go on here.
    pub(super) fn goes_on(&self) -> Result<(), Stop> {
        let signals = self.signals.get();
        if signals.lost || self.refusal.borrow().is_some() {
            Err(Stop::Left)
        } else if signals.cancelled {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Waits until the execution does not go on here. A shutdown counts only if `or_ending`.
    pub(super) async fn stopped(&self, or_ending: bool) -> Stop {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Err(stop) = self.goes_on() {
                return stop;
            }
            if or_ending && self.signals.get().ending {
                return Stop::Left;
            }
            changed.await;
        }
    }

    /// Waits before another attempt to reach the server. `false` if there will be none.
    pub(super) async fn retry(&self) -> bool {
        let is_over = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                let signals = self.signals.get();
                if signals.lost || signals.ending {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(RETRY_INTERVAL, is_over).await.is_err()
    }

    /// Adds events. They are sent with the next heartbeat at the latest.
    pub(super) fn add(&self, entries: Vec<Entry>) {
        let mut unsent = self.unsent.borrow_mut();
        for Entry { kind, task, data } in entries {
            let n = self.last_n.get() + 1;
            self.last_n.set(n);
            unsent.push_back(ReportedEvent { n, kind, task, data: Json::of(&data).unwrap_or_default() });
        }
    }

    /// The next events that fit into one request, and whether these are all.
    fn batch(&self) -> (Vec<ReportedEvent>, bool) {
        let unsent = self.unsent.borrow();
        let mut bytes = 0;
        let fits = unsent.iter().take_while(|event| {
            let is_first = bytes == 0;
            bytes += event.data.text().len() + EVENT_BYTES;
            is_first || bytes <= MAX_BATCH_BYTES
        });
        let batch: Vec<ReportedEvent> = fits.cloned().collect();
        let is_all = batch.len() == unsent.len();
        (batch, is_all)
    }

    fn acknowledged(&self, last_n: u64) {
        self.unsent.borrow_mut().retain(|event| event.n > last_n);
    }

    fn is_all_sent(&self) -> bool {
        self.unsent.borrow().is_empty()
    }

    /// Sends unsent events, once. Whoever calls holds `sending`.
    async fn send(&self, server: &Server) -> Answer<LeaseState> {
        let (events, _) = self.batch();
        self.last_sent.set(Instant::now());
        let path = format!("/v1/leases/{}/heartbeat", self.lease);
        let answer = server.post::<LeaseState>(&path, &LeaseHeartbeat { events }, WRITE_TIMEOUT).await;
        match &answer {
            Answer::Accepted(state) => {
                self.acknowledged(state.last_n);
                if state.cancel {
                    self.signal(|signals| signals.cancelled = true);
                }
            }
            Answer::Gone | Answer::Unknown(_) => self.signal(|signals| signals.lost = true),
            Answer::Refused(_, reason) => self.refuse(reason.clone()),
            Answer::Unavailable => {}
        }
        answer
    }

    /// Renews the lease, unless that happened within `interval`. `false` if the server is unavailable.
    pub(super) async fn beat(&self, server: &Server, interval: Duration) -> bool {
        // A request that is under way renews the lease, too.
        let Ok(_sending) = self.sending.try_lock() else { return true };
        if self.is_all_sent() && self.last_sent.get().elapsed() < interval {
            return true;
        }
        !matches!(self.send(server).await, Answer::Unavailable)
    }

    /// Waits until all events have arrived.
    pub(super) async fn flush(&self, server: &Server) -> Result<(), Stop> {
        let _sending = self.sending.lock().await;
        loop {
            self.goes_on()?;
            if self.is_all_sent() {
                return Ok(());
            }
            // As long as this worker lives, a server that restarts takes the events.
            if matches!(self.send(server).await, Answer::Unavailable) && !self.retry().await {
                return Err(Stop::Left);
            }
        }
    }

    /// Posts the end of the work on the lease, with the last events. Returns the reason if the server refuses it.
    pub(super) async fn finish(&self, server: &Server, end: &str, body: &Value) -> Result<(), String> {
        #[derive(Serialize)]
        struct Body<'b> {
            events: Vec<ReportedEvent>,
            #[serde(flatten)]
            end: &'b Value,
        }
        // Cancellation is no reason not to report the end.
        let _sending = self.sending.lock().await;
        loop {
            let (events, is_all) = self.batch();
            let answer = if is_all {
                let path = format!("/v1/leases/{}/{end}", self.lease);
                self.last_sent.set(Instant::now());
                match server.post::<Value>(&path, &Body { events, end: body }, WRITE_TIMEOUT).await {
                    Answer::Accepted(_) => return Ok(()),
                    other => other,
                }
            } else {
                match self.send(server).await {
                    Answer::Accepted(_) => continue,
                    Answer::Gone => Answer::Gone,
                    Answer::Unknown(reason) => Answer::Unknown(reason),
                    Answer::Refused(status, reason) => Answer::Refused(status, reason),
                    Answer::Unavailable => Answer::Unavailable,
                }
            };
            match answer {
                Answer::Accepted(_) | Answer::Gone | Answer::Unknown(_) => return Ok(()),
                Answer::Refused(_, reason) => {
                    self.unsent.borrow_mut().clear();
                    return Err(reason);
                }
                Answer::Unavailable => {
                    if !self.retry().await {
                        return Ok(());
                    }
                }
            }
        }
    }
}
