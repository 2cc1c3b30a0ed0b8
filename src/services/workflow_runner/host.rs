//! The world of an execution on this machine: its journal is at the server, effects are had by threads of their own.

use super::client::{Answer, PATIENCE};
use super::work::{Shared, Signals, Work};
use super::{RETRY, http};
use crate::workflow::effect::{AgentRequest, Effect, HttpRequest, Request};
use crate::workflow::engine::{Millis, Outcome, Stop};
use crate::workflow::fault::{AGENT, Fault};
use crate::workflow::journaled::{Entry, Host};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stigmer_protocol::redact::Redactor;

/// The clock may be set, and the machine may sleep: so often it is looked at.
const GLANCE: Duration = Duration::from_secs(15);

/// How long a request may take whose task does not say.
const LONGEST: Duration = Duration::from_secs(300);

/// How long a request that is under way may go on when the worker ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long the server keeps somebody waiting who waits for the end of an execution.
const ASK: Duration = Duration::from_secs(20);

/// The longest answer that is kept, in bytes of JSON.
const MOST: usize = 1024 * 1024;

/// The world of an execution.
pub(super) struct WorkerHost {
    pub(super) shared: Arc<Shared>,
    pub(super) work: Arc<Work>,
}

/// A value without secrets.
pub(super) fn clean(redactor: &Redactor, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.redact(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(|item| clean(redactor, item)).collect(),
        Value::Object(pairs) => {
            let pair =
                |(key, value): (String, Value)| (redactor.redact(&key).into_owned(), clean(redactor, value));
            Value::Object(pairs.into_iter().map(pair).collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// Now.
pub(super) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

fn until(time: Millis) -> Duration {
    Duration::from_millis(time.saturating_sub(now()))
}

fn stopped(signals: &Signals) -> Option<Stop> {
    if signals.lost || signals.refused.is_some() {
        Some(Stop::Left)
    } else if signals.cancelled {
        Some(Stop::Cancelled)
    } else {
        None
    }
}

impl WorkerHost {
    /// Has an effect in a thread of its own, and waits for it, for the deadline, or for the end of it all. What it comes to after
    /// that, nobody hears.
    fn in_thread(
        &self,
        deadline: Option<Millis>,
        at_the_end: Duration,
        effect: impl FnOnce(&Shared, &Work) -> Option<Outcome> + Send + 'static,
    ) -> Result<Outcome, Stop> {
        self.work.goes_on()?;
        let number = self.work.signal(|signals| {
            signals.effects += 1;
            signals.outcome = None;
            signals.effects
        });
        let (shared, work) = (Arc::clone(&self.shared), Arc::clone(&self.work));
        let begun = super::thread("effect", move || {
            if let Some(outcome) = effect(&shared, &work) {
                work.signal(|signals| {
                    if signals.effects == number {
                        signals.outcome = Some((number, outcome));
                    }
                });
            }
        });
        if let Err(error) = begun {
            return Ok(Outcome::Failed(Fault::runtime(format!("there is no thread for it: {error}"))));
        }
        let settled = |signals: &mut Signals| match signals.outcome.take() {
            Some((_, outcome)) => Some(Ok(outcome)),
            None => stopped(signals).map(Err),
        };
        loop {
            let left = deadline.map(|deadline| until(deadline).min(GLANCE));
            let seen = self.work.wait(left.or(Some(GLANCE)), |signals| {
                settled(signals).or_else(|| signals.ending.then_some(Err(Stop::Left)))
            });
            match seen {
                Some(Err(Stop::Left)) if !at_the_end.is_zero() => {
                    let left = deadline.map_or(at_the_end, |deadline| until(deadline).min(at_the_end));
                    return self.work.wait(Some(left), settled).unwrap_or(Err(Stop::Left));
                }
                Some(seen) => return seen,
                None if deadline.is_some_and(|deadline| now() >= deadline) => return Ok(Outcome::TimedOut),
                None => {}
            }
        }
    }

    fn redacted(&self, mut fault: Fault) -> Fault {
        let redactor = &self.shared.redactor;
        fault.title = redactor.redact(&fault.title).into_owned();
        fault.detail = fault.detail.map(|detail| redactor.redact(&detail).into_owned());
        fault
    }

    fn kept(&self, outcome: Outcome) -> Outcome {
        let redactor = &self.shared.redactor;
        match outcome {
            Outcome::Done(value) => {
                let value = clean(redactor, value);
                let long = value.to_string().len();
                if long > MOST {
                    let words = format!("the answer has {long} bytes as JSON; at most {MOST} are kept");
                    return Outcome::Failed(Fault::runtime(words));
                }
                Outcome::Done(value)
            }
            Outcome::Failed(fault) => Outcome::Failed(self.redacted(fault)),
            Outcome::TimedOut => outcome,
        }
    }
}

impl Host for WorkerHost {
    fn append(&self, entries: Vec<Entry>) -> Result<(), Stop> {
        self.work.goes_on()?;
        let redactor = &self.shared.redactor;
        let cleaned = entries.into_iter().map(|entry| Entry { data: clean(redactor, entry.data), ..entry });
        self.work.say(cleaned.collect());
        Ok(())
    }

    async fn flush(&self) -> Result<(), Stop> {
        self.work.settle(&self.shared.server)
    }

    fn now(&self) -> Millis {
        now()
    }

    fn chance(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        // Without randomness there is none, which is no harm.
        let _ = crate::platform::random(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }

    async fn sleep_until(&self, time: Millis) -> Result<(), Stop> {
        loop {
            let left = until(time);
            let seen = self.work.wait(Some(left.min(GLANCE)), |signals| {
                stopped(signals).or_else(|| signals.ending.then_some(Stop::Left))
            });
            match seen {
                Some(stop) => return Err(stop),
                None if now() >= time => return Ok(()),
                None => {}
            }
        }
    }

    async fn resolve(&self, effect: &Effect) -> Result<Request, Fault> {
        effect.resolve(&self.shared.secrets).map_err(|fault| self.redacted(fault))
    }

    async fn perform(
        &self,
        path: &str,
        request: &Request,
        deadline: Option<Millis>,
    ) -> Result<Outcome, Stop> {
        match request {
            Request::Http(request) => self.http(request, deadline),
            Request::Agent(request) => self.agent(path, request, deadline),
        }
    }
}

impl WorkerHost {
    fn http(&self, request: &HttpRequest, deadline: Option<Millis>) -> Result<Outcome, Stop> {
        let limit = deadline.map_or(LONGEST, until);
        if limit.is_zero() {
            return Ok(Outcome::TimedOut);
        }
        let has_deadline = deadline.is_some();
        let (request, tls) = (request.clone(), self.shared.tls.clone());
        let outcome = self.in_thread(deadline, LAST_WORDS, move |_, _| {
            Some(http::send(&request, tls, limit, has_deadline))
        })?;
        Ok(self.kept(outcome))
    }

    fn agent(&self, path: &str, request: &AgentRequest, deadline: Option<Millis>) -> Result<Outcome, Stop> {
        let mut body = json!({"task": path, "agent": request.agent, "message": request.message});
        if let Some(session) = &request.session {
            body["session"] = session.clone().into();
        }
        let children = format!("/v1/leases/{}/children", self.work.lease);
        let child = loop {
            self.work.goes_on()?;
            match self.shared.server.post::<Value>(&children, &body, 5 * PATIENCE) {
                Answer::Accepted(child) => break child,
                Answer::Gone => return Err(Stop::Left),
                Answer::Unknown(words) => return Ok(Outcome::Failed(failed(404, words))),
                Answer::Refused(status, words) => {
                    // It is refused to begin anything for an execution that is called off; then that is the reason.
                    self.work.settle(&self.shared.server)?;
                    return Ok(Outcome::Failed(failed(u64::from(status), words)));
                }
                Answer::Silence => {
                    let is_over = |signals: &mut Signals| signals.ending.then_some(Stop::Left);
                    if let Some(stop) = self.work.wait(Some(RETRY), is_over) {
                        return Err(stop);
                    }
                }
            }
        };
        let id = child["id"].as_str().unwrap_or_default().to_owned();
        let waited_for = id.clone();
        let outcome = self.in_thread(deadline, Duration::ZERO, move |shared, work| {
            wait_for_child(shared, work, &waited_for)
        })?;
        if outcome == Outcome::TimedOut {
            // What nobody waits for any more need not be done. If the server is away, it is done in vain.
            let path = format!("/v1/executions/{id}/cancel");
            let _ = self.shared.server.post::<Value>(&path, &json!({}), PATIENCE);
        }
        Ok(self.kept(outcome))
    }
}

fn failed(status: u64, words: impl Into<String>) -> Fault {
    Fault::new(AGENT, status, "Agent Failed", words)
}

/// Waits for the end of an execution that was begun for this one. Nothing if nobody waits for it any more.
fn wait_for_child(shared: &Shared, work: &Work, id: &str) -> Option<Outcome> {
    let path = format!("/v1/executions/{id}?wait_ms={}", ASK.as_millis());
    let mine = work.signal(|signals| signals.effects);
    let is_over = |signals: &mut Signals| {
        (signals.ending || signals.effects != mine || stopped(signals).is_some()).then_some(())
    };
    loop {
        if work.wait(Some(Duration::ZERO), is_over).is_some() {
            return None;
        }
        match shared.server.get::<Value>(&path, ASK + 5 * PATIENCE) {
            Answer::Accepted(child) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Some(match child["phase"].as_str() {
                    Some("COMPLETED") => Outcome::Done(json!({
                        "text": child["output"]["text"], "execution": id, "usage": child["usage"],
                    })),
                    Some("FAILED") => Outcome::Failed(failed(
                        500,
                        format!("the agent's execution {id} failed: {}", text(&child["error"]["message"])),
                    )),
                    Some("CANCELLED") => {
                        Outcome::Failed(failed(500, format!("the agent's execution {id} was cancelled")))
                    }
                    _ => continue,
                });
            }
            Answer::Unknown(words) | Answer::Refused(_, words) => {
                return Some(Outcome::Failed(failed(500, words)));
            }
            Answer::Gone | Answer::Silence => drop(work.wait(Some(RETRY), is_over)),
        }
    }
}
