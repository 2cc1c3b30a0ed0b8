//! The engine that keeps its memory in a journal.
//!
//! Each answer is an entry under the path of its task, and is given again from there. Two entries surround a request: the attempt is
//! durable before anything is sent, and the outcome is durable before anything is made of it, so a crash in between is recognized.
//! What becomes of tasks is written down too, for people; nothing depends on it.

mod past;

use super::effect::{Effect, Request};
use super::engine::{Effects, Millis, Observer, Outcome, Stop, Waited};
use super::evaluation::Evaluation;
use super::fault::Fault;
use super::interpreter::{INTERPRETER_REVISION, Runtime, UNRECORDED_REVISION};
use past::{Past, pause_key};
use serde_json::{Value, json};
use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

/// Largest output of a task that is journaled, in bytes of JSON. Of a larger one only the size is noted: it can be computed again.
const MAX_SHOWN_OUTPUT_BYTES: usize = 64 * 1024;

/// Largest size of all journaled outputs together, in bytes of JSON.
const MAX_SHOWN_OUTPUTS_BYTES: usize = 8 * 1024 * 1024;

/// Largest size of all outcomes together, in bytes of JSON, after which effects fail: a replay reads all of them.
const MAX_OUTCOMES_BYTES: usize = 64 * 1024 * 1024;

/// Largest outcome in one entry, in bytes of JSON. A larger one is split.
const MAX_ENTRY_BYTES: usize = 100 * 1024;

/// Entry of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Type of the event.
    pub kind: String,
    /// Path of the task, if the event belongs to one.
    pub task: Option<String>,
    /// Details.
    pub data: Value,
}

/// Surroundings of a journaled execution: where the journal is kept, and how effects are performed.
pub trait Host {
    /// Appends entries, all of them or none. They may be held back until [`Host::flush`].
    fn append(&self, entries: Vec<Entry>) -> Result<(), Stop>;

    /// Waits until all appended entries are durable.
    fn flush(&self) -> impl Future<Output = Result<(), Stop>>;

    /// Returns the current time.
    fn now(&self) -> Millis;

    /// Returns a random number from 0 to below 1.
    fn chance(&self) -> f64;

    /// Waits until a time.
    fn sleep_until(&self, until: Millis) -> impl Future<Output = Result<(), Stop>>;

    /// Puts secrets in place.
    ///
    /// # Errors
    /// The fault of [`Effect::resolve`], without secrets in it.
    fn resolve(&self, effect: &Effect) -> impl Future<Output = Result<Request, Fault>>;

    /// Performs an effect and returns what may be recorded of its outcome. Performed again under the same path, an effect for which no
    /// attempt is recorded ([`Effect::attempt`]) joins the first one. A future that is dropped cancels the effect.
    fn perform(
        &self,
        path: &str,
        request: &Request,
        deadline: Option<Millis>,
    ) -> impl Future<Output = Result<Outcome, Stop>>;

    /// Evaluates expressions ([`Effects::evaluate`]).
    ///
    /// # Errors
    /// The failed expression and the reason.
    fn evaluate(&self, evaluation: Evaluation) -> impl Future<Output = Result<Vec<Value>, String>> {
        std::future::ready(evaluation.run())
    }

    /// Lets other executions run. It is called before each task.
    fn yield_now(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// Engine on a journal.
#[derive(Debug)]
pub struct Journaled<H> {
    host: H,
    past: Past,
    /// Size of the outputs shown so far, in bytes.
    shown: Cell<usize>,
    /// Size of all outcomes, recorded earlier or now, in bytes.
    outcome_bytes: Cell<usize>,
}

impl<H: Host> Journaled<H> {
    /// Continues after the entries of `journal`.
    pub fn new(host: H, journal: impl IntoIterator<Item = Entry>) -> Self {
        let past = Past::read(journal);
        let outcome_bytes = Cell::new(past.outcome_bytes);
        Self { host, past, shown: Cell::new(0), outcome_bytes }
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Returns the runtime that the execution began on. For a new execution this is `own`, and it is recorded first of all. An execution
    /// from before such records keeps the semantics of that time.
    ///
    /// # Errors
    /// A fault if a later interpreter began the execution, whose semantics this one does not know.
    pub fn runtime(&self, own: Runtime) -> Result<Result<Runtime, Fault>, Stop> {
        let recorded = match &self.past.runtime {
            Some(recorded) => recorded.clone(),
            None if self.past.has_tasks => Runtime { revision: UNRECORDED_REVISION, ..own },
            None => {
                let data = serde_json::to_value(&own).unwrap_or_default();
                self.host.append(vec![Entry { kind: "runtime".to_owned(), task: None, data }])?;
                own
            }
        };
        if recorded.revision > INTERPRETER_REVISION {
            return Ok(Err(Fault::runtime(format!(
                "cannot replay an execution of interpreter revision {}: this version knows revisions up to {INTERPRETER_REVISION}; use {} {} or later",
                recorded.revision, recorded.name, recorded.version
            ))));
        }
        Ok(Ok(recorded))
    }

    fn add(&self, kind: &str, path: &str, data: Value) -> Result<(), Stop> {
        self.host.append(vec![entry(kind, path, data)])
    }

    /// Appends a remark, unless the journal has one of this kind for this path.
    fn remark(&self, kind: &str, path: &str, data: Value) -> Result<(), Stop> {
        if self.past.remarks.contains(&(kind.to_owned(), path.to_owned())) {
            return Ok(());
        }
        self.add(kind, path, data)
    }

    async fn sleep(&self, until: Millis, deadline: Option<Millis>) -> Result<Waited, Stop> {
        let late = deadline.filter(|deadline| *deadline < until);
        self.host.sleep_until(late.unwrap_or(until)).await?;
        Ok(if late.is_some() { Waited::TimedOut } else { Waited::Elapsed })
    }

    /// Attempts an effect whose outcome is not known.
    async fn attempt(&self, path: &str, effect: &Effect, deadline: Option<Millis>) -> Result<Outcome, Stop> {
        if self.outcome_bytes.get() > MAX_OUTCOMES_BYTES {
            let words = format!("the answers so far have more than {MAX_OUTCOMES_BYTES} bytes together");
            return Ok(Outcome::Failed(Fault::runtime(words)));
        }
        let was_attempted = self.past.attempted.contains(path);
        if was_attempted && !effect.is_repeatable() {
            let words = format!(
                "the worker was lost while a {} request was under way; it may have arrived, so it was not sent again",
                effect.attempt().unwrap_or_default()
            );
            return Ok(Outcome::Failed(Fault::interrupted(words)));
        }
        let request = match self.host.resolve(effect).await {
            Ok(request) => request,
            Err(fault) => return Ok(Outcome::Failed(fault)),
        };
        // A second record would look as if something had happened in between.
        if let Some(attempt) = effect.attempt().filter(|_| !was_attempted) {
            self.add("effect", path, json!({"begun": attempt}))?;
        }
        self.host.flush().await?;
        self.host.perform(path, &request, deadline).await
    }

    /// Records the outcome of an effect.
    async fn record(&self, path: &str, outcome: &Outcome) -> Result<(), Stop> {
        let text = serde_json::to_string(outcome).unwrap_or_default();
        self.outcome_bytes.set(self.outcome_bytes.get() + text.len());
        if text.len() <= MAX_ENTRY_BYTES {
            self.add("effect", path, json!({ "ended": outcome }))?;
            return self.host.flush().await;
        }
        let parts = split(&text);
        let of = parts.len();
        let part = |(place, part)| entry("effect", path, json!({"part": place + 1, "of": of, "text": part}));
        self.host.append(parts.into_iter().enumerate().map(part).collect())?;
        self.host.flush().await
    }
}

fn entry(kind: &str, path: &str, data: Value) -> Entry {
    Entry { kind: kind.to_owned(), task: Some(path.to_owned()), data }
}

/// Splits text into parts that fit into an entry each.
fn split(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let end = (0..=text.len().min(MAX_ENTRY_BYTES)).rev().find(|end| text.is_char_boundary(*end));
        let (part, rest) = text.split_at(end.unwrap_or(text.len()));
        parts.push(part);
        text = rest;
    }
    parts
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

impl<H: Host> Effects for Journaled<H> {
    async fn started(&self, path: &str, kind: &str) -> Result<Millis, Stop> {
        self.host.yield_now().await;
        if let Some(at) = self.past.started.get(path) {
            return Ok(*at);
        }
        let at = self.host.now();
        self.add("task.started", path, json!({"kind": kind, "at": at}))?;
        Ok(at)
    }

    fn now(&self, path: &str) -> Result<Millis, Stop> {
        if let Some(at) = self.past.times.get(path) {
            return Ok(*at);
        }
        let at = self.host.now();
        self.add("effect", path, json!({ "time": at }))?;
        Ok(at)
    }

    fn known(&self, path: &str) -> Option<Outcome> {
        self.past.outcomes.get(path).cloned()
    }

    async fn effect(&self, path: &str, effect: &Effect, deadline: Option<Millis>) -> Result<Outcome, Stop> {
        let outcome = self.attempt(path, effect, deadline).await?;
        self.record(path, &outcome).await?;
        Ok(outcome)
    }

    async fn wait(&self, path: &str, length: Duration, deadline: Option<Millis>) -> Result<Waited, Stop> {
        let until = if let Some(until) = self.past.until.get(path) {
            *until
        } else {
            let until = self.host.now().saturating_add(millis(length));
            let time = std::time::UNIX_EPOCH + Duration::from_millis(until);
            let text = humantime::format_rfc3339_millis(time).to_string();
            self.add("wait.set", path, json!({"until": text, "until_ms": until}))?;
            self.host.flush().await?;
            until
        };
        self.sleep(until, deadline).await
    }

    async fn pause(
        &self,
        path: &str,
        attempt: u64,
        delay: Duration,
        jitter: Option<(Duration, Duration)>,
        deadline: Option<Millis>,
    ) -> Result<Waited, Stop> {
        let until = if let Some(until) = self.past.until.get(&pause_key(path, attempt)) {
            *until
        } else {
            let more = jitter.map_or(Duration::ZERO, |(from, to)| {
                from + to.saturating_sub(from).mul_f64(self.host.chance())
            });
            let delay = millis(delay.saturating_add(more));
            let until = self.host.now().saturating_add(delay);
            let data = json!({"attempt": attempt, "delay_ms": delay, "until_ms": until});
            self.add("task.retried", path, data)?;
            self.host.flush().await?;
            until
        };
        self.sleep(until, deadline).await
    }

    fn decided(&self, path: &str) -> Option<usize> {
        self.past.decided.get(path).copied()
    }

    async fn decide(&self, path: &str, branch: usize) -> Result<(), Stop> {
        self.add("effect", path, json!({ "branch": branch }))?;
        self.host.flush().await
    }

    async fn evaluate(&self, evaluation: Evaluation) -> Result<Vec<Value>, String> {
        self.host.evaluate(evaluation).await
    }
}

impl<H: Host> Observer for Journaled<H> {
    fn completed(&self, path: &str, output: &Value) -> Result<(), Stop> {
        let long = output.to_string().len();
        self.shown.set(self.shown.get().saturating_add(long.min(MAX_SHOWN_OUTPUT_BYTES)));
        let is_too_much = long > MAX_SHOWN_OUTPUT_BYTES || self.shown.get() > MAX_SHOWN_OUTPUTS_BYTES;
        let data = if is_too_much { json!({ "output_bytes": long }) } else { json!({ "output": output }) };
        self.remark("task.completed", path, data)
    }

    fn skipped(&self, path: &str) -> Result<(), Stop> {
        self.remark("task.completed", path, json!({"skipped": true}))
    }

    fn failed(&self, path: &str, fault: &Fault) -> Result<(), Stop> {
        let mut short = fault.clone();
        short.detail = fault.detail.as_ref().map(|detail| detail.chars().take(4000).collect());
        self.remark("task.failed", path, json!({ "error": short }))
    }

    fn branched(&self, path: &str, case: &str) -> Result<(), Stop> {
        self.remark("branch", path, json!({ "case": case }))
    }
}
