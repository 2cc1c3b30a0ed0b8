//! Surroundings of an execution on this machine: its journal is at the server, its effects are futures of this process.

use super::agent;
use super::report::Work;
use super::shared::Shared;
use crate::workflow::effect::{Effect, Request};
use crate::workflow::engine::{Millis, Outcome, Stop};
use crate::workflow::evaluation::Evaluation;
use crate::workflow::fault::Fault;
use crate::workflow::journaled::{Entry, Host};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stigmer_protocol::redact::Redactor;

/// Interval at which a waiting timer reads the clock: the clock may be set, and the machine may sleep.
const CLOCK_INTERVAL: Duration = Duration::from_secs(15);

/// Longest time of a request whose task sets none.
const REQUEST_LIMIT: Duration = Duration::from_secs(300);

/// Time that a request under way has to finish when the worker shuts down.
const REQUEST_GRACE: Duration = Duration::from_secs(5);

/// Largest outcome of an effect, in bytes of JSON.
const MAX_OUTCOME_BYTES: usize = 1024 * 1024;

/// Number of tasks after which an execution lets others run.
const TASKS_PER_TURN: u32 = 32;

/// Surroundings of an execution.
pub(super) struct WorkerHost {
    shared: Rc<Shared>,
    work: Rc<Work>,
    tasks: Cell<u32>,
}

/// Removes secrets from a value.
pub(super) fn redacted(redactor: &Redactor, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.redact(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(|item| redacted(redactor, item)).collect(),
        Value::Object(pairs) => {
            let pair = |(key, value): (String, Value)| {
                (redactor.redact(&key).into_owned(), redacted(redactor, value))
            };
            Value::Object(pairs.into_iter().map(pair).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Time left until a point in time.
fn left(until: Millis) -> Duration {
    Duration::from_millis(until.saturating_sub(now()))
}

/// Waits until the clock shows a time.
async fn sleep_until(until: Millis) {
    loop {
        let left = left(until);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CLOCK_INTERVAL)).await;
    }
}

impl WorkerHost {
    pub(super) fn new(shared: &Rc<Shared>, work: &Rc<Work>) -> Self {
        Self { shared: Rc::clone(shared), work: Rc::clone(work), tasks: Cell::new(0) }
    }

    /// Waits for an effect, for its deadline, or until the execution stops. In a shutdown the effect has `grace` to finish.
    async fn effect(
        &self,
        effect: impl Future<Output = Outcome>,
        deadline: Option<Millis>,
        grace: Duration,
    ) -> Result<Outcome, Stop> {
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let stopped = async {
            let stop = self.work.stopped(true).await;
            if self.work.goes_on().is_err() {
                return stop;
            }
            // The worker shuts down.
            tokio::select! {
                stop = self.work.stopped(false) => stop,
                () = tokio::time::sleep(grace) => Stop::Left,
            }
        };
        tokio::select! {
            biased;
            outcome = effect => Ok(self.kept(outcome)),
            () = late => Ok(Outcome::TimedOut),
            stop = stopped => Err(stop),
        }
    }

    fn without_secrets(&self, mut fault: Fault) -> Fault {
        let redactor = &self.shared.redactor;
        fault.title = redactor.redact(&fault.title).into_owned();
        fault.detail = fault.detail.map(|detail| redactor.redact(&detail).into_owned());
        fault
    }

    /// What may be recorded of an outcome.
    fn kept(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Done(value) => {
                let value = redacted(&self.shared.redactor, value);
                let long = value.to_string().len();
                if long > MAX_OUTCOME_BYTES {
                    let words =
                        format!("the answer has {long} bytes as JSON; the limit is {MAX_OUTCOME_BYTES}");
                    return Outcome::Failed(Fault::runtime(words));
                }
                Outcome::Done(value)
            }
            Outcome::Failed(fault) => Outcome::Failed(self.without_secrets(fault)),
            Outcome::TimedOut => outcome,
        }
    }
}

impl Host for WorkerHost {
    fn append(&self, entries: Vec<Entry>) -> Result<(), Stop> {
        self.work.goes_on()?;
        let redactor = &self.shared.redactor;
        let entries =
            entries.into_iter().map(|entry| Entry { data: redacted(redactor, entry.data), ..entry });
        self.work.add(entries.collect());
        Ok(())
    }

    async fn flush(&self) -> Result<(), Stop> {
        self.work.flush(&self.shared.server).await
    }

    fn now(&self) -> Millis {
        now()
    }

    fn chance(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        // Without randomness there is no jitter, which does no harm.
        let _ = crate::platform::random(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }

    async fn sleep_until(&self, until: Millis) -> Result<(), Stop> {
        self.work.goes_on()?;
        tokio::select! {
            biased;
            () = sleep_until(until) => Ok(()),
            stop = self.work.stopped(true) => Err(stop),
        }
    }

    async fn resolve(&self, effect: &Effect) -> Result<Request, Fault> {
        let outcome = if effect.names_secrets() {
            let (effect, secrets) = (effect.clone(), Arc::clone(&self.shared.secrets));
            let outcome = self.shared.evaluator.run(move || effect.resolve(&secrets)).await;
            outcome.unwrap_or_else(|error| Err(Fault::expression(error)))
        } else {
            effect.resolve(&self.shared.secrets)
        };
        outcome.map_err(|fault| self.without_secrets(fault))
    }

    async fn perform(
        &self,
        path: &str,
        request: &Request,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop> {
        self.work.goes_on()?;
        match request {
            Request::Http(request) => {
                let sent = self.shared.http.send(request, REQUEST_LIMIT, deadline.is_some());
                self.effect(sent, deadline, REQUEST_GRACE).await
            }
            Request::Agent(request) => match agent::create(&self.shared, &self.work, path, request).await? {
                Ok(child) => self.effect(child.outcome(), deadline, Duration::ZERO).await,
                Err(fault) => Ok(Outcome::Failed(self.without_secrets(fault))),
            },
        }
    }

    async fn evaluate(&self, evaluation: Evaluation) -> Result<Vec<Value>, String> {
        self.shared.evaluator.run(move || evaluation.run_here()).await?
    }

    async fn yield_now(&self) {
        let tasks = self.tasks.get() + 1;
        self.tasks.set(tasks % TASKS_PER_TURN);
        if tasks == TASKS_PER_TURN {
            tokio::task::yield_now().await;
        }
    }
}
