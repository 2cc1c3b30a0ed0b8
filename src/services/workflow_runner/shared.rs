//! What all executions of a worker share.

use super::client::Server;
use super::evaluator::Evaluator;
use super::http::HttpClient;
use super::report::Work;
use crate::workflow::Workflow;
use futures_util::StreamExt;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stigmer_protocol::WorkerId;
use stigmer_protocol::component::ComponentConfig;
use stigmer_protocol::redact::Redactor;
use tokio::sync::Notify;

/// Largest number of definitions that are kept after they were read.
const MAX_DEFINITIONS: usize = 64;

/// Largest number of heartbeats under way at once.
const MAX_HEARTBEATS: usize = 16;

/// What all executions of a worker share.
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) http: HttpClient,
    pub(super) evaluator: Evaluator,
    pub(super) redactor: Redactor,
    pub(super) secrets: Arc<BTreeMap<String, String>>,
    heartbeat: Duration,
    is_ending: Cell<bool>,
    /// Id under which the server knows this worker.
    worker: RefCell<Option<WorkerId>>,
    running: RefCell<HashMap<String, Rc<Work>>>,
    definitions: RefCell<HashMap<String, Arc<Workflow>>>,
    changed: Notify,
}

impl Shared {
    pub(super) fn new(config: &ComponentConfig) -> io::Result<Self> {
        Ok(Self {
            server: Server::new(config)?,
            http: HttpClient::new()?,
            evaluator: Evaluator::new(),
            redactor: Redactor::new(&config.token, &config.environment),
            secrets: Arc::new(config.environment.values()),
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            is_ending: Cell::new(false),
            worker: RefCell::default(),
            running: RefCell::default(),
            definitions: RefCell::default(),
            changed: Notify::new(),
        })
    }

    /// Waits until `look` returns something.
    async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(seen) = look() {
                return seen;
            }
            changed.await;
        }
    }

    /// Begins the shutdown of the worker.
    pub(super) fn end(&self) {
        self.is_ending.set(true);
        for work in self.running.borrow().values() {
            work.end_soon();
        }
        self.changed.notify_waiters();
    }

    /// Waits for `length`. Returns `true`, at once, if the worker shuts down.
    pub(super) async fn is_ending_within(&self, length: Duration) -> bool {
        let ending = self.until(|| self.is_ending.get().then_some(()));
        tokio::time::timeout(length, ending).await.is_ok()
    }

    pub(super) fn set_worker(&self, id: Option<&WorkerId>) {
        *self.worker.borrow_mut() = id.cloned();
        self.changed.notify_waiters();
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.running.borrow().is_empty()
    }

    /// Waits until there is room for more executions, of at most `max`. Returns the id of this worker and the room; `None` if the worker
    /// shuts down.
    pub(super) async fn room(&self, max: usize) -> Option<(WorkerId, usize)> {
        self.until(|| {
            if self.is_ending.get() {
                return Some(None);
            }
            let room = max.saturating_sub(self.running.borrow().len());
            let worker = self.worker.borrow().clone().filter(|_| room > 0);
            worker.map(|worker| Some((worker, room)))
        })
        .await
    }

    /// Waits until no execution is under way.
    pub(super) async fn idle(&self) {
        self.until(|| self.running.borrow().is_empty().then_some(())).await;
    }

    pub(super) fn add(&self, work: &Rc<Work>) {
        if self.is_ending.get() {
            work.end_soon();
        }
        self.running.borrow_mut().insert(work.lease.clone(), Rc::clone(work));
        self.changed.notify_waiters();
    }

    pub(super) fn remove(&self, work: &Work) {
        self.running.borrow_mut().remove(&work.lease);
        self.changed.notify_waiters();
    }

    /// Renews the leases of all executions, for ever: during a shutdown, too.
    pub(super) async fn renew_leases(&self) {
        loop {
            self.until(|| self.is_busy().then_some(())).await;
            let started = Instant::now();
            let running: Vec<Rc<Work>> = self.running.borrow().values().cloned().collect();
            let beats = running.iter().map(|work| work.beat(&self.server, self.heartbeat / 2));
            let mut beats = futures_util::stream::iter(beats).buffer_unordered(MAX_HEARTBEATS);
            // A server that is unavailable for one is unavailable for all.
            while let Some(true) = beats.next().await {}
            tokio::time::sleep(self.heartbeat.saturating_sub(started.elapsed())).await;
        }
    }

    /// A definition that was read before.
    pub(super) fn definition(&self, digest: &str) -> Option<Arc<Workflow>> {
        self.definitions.borrow().get(digest).cloned()
    }

    pub(super) fn keep_definition(&self, digest: &str, workflow: &Arc<Workflow>) {
        let mut definitions = self.definitions.borrow_mut();
        if definitions.len() >= MAX_DEFINITIONS {
            definitions.clear();
        }
        definitions.insert(digest.to_owned(), Arc::clone(workflow));
    }
}
