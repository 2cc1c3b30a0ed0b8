//! A simulated world: its clock moves only when every strand of an execution waits, and all answers are written down beforehand.

use super::scenarios::Scenario;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use stigmer::workflow::effect::{AgentRequest, HttpRequest};
use stigmer::workflow::engine::{Millis, Outcome};
use stigmer::workflow::fault::Fault;

/// When this world begins: 2026-01-01.
pub(crate) const BEGIN: Millis = 1_767_225_600_000;

/// What an address answers, one answer after the other; the last one again and again.
pub(crate) type Answers = Vec<(&'static str, Vec<Answer>)>;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This.
    Ok(Value),
    /// This status.
    Status(u64),
    /// It takes longer than anybody waits: so many milliseconds.
    Slow(Millis),
}

/// What has happened, for all who come to look.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    now: Mutex<Millis>,
    /// Times that somebody waits for.
    timers: Mutex<Vec<Millis>>,
    answers: Answers,
    calls: Mutex<Vec<String>>,
    bodies: Mutex<Vec<Value>>,
    /// Questions to agents by the path of their task, as the server keeps them.
    children: Mutex<BTreeMap<String, Outcome>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self(Arc::new(Inner {
            now: Mutex::new(BEGIN),
            timers: Mutex::default(),
            answers: scenario.answers.clone(),
            calls: Mutex::default(),
            bodies: Mutex::default(),
            children: Mutex::default(),
        }))
    }

    pub(crate) fn now(&self) -> Millis {
        *held(&self.0.now)
    }

    /// Waits until a time of this world.
    pub(crate) async fn sleep_until(&self, until: Millis) {
        std::future::poll_fn(|_| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            held(&self.0.timers).push(until);
            Poll::Pending
        })
        .await;
    }

    /// Lets the other strands of an execution go on, without time passing.
    pub(crate) async fn turn(&self) {
        let mut is_over = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            held(&self.0.timers).push(self.now());
            Poll::Pending
        })
        .await;
    }

    /// Polls a future until it is ready. While all of it waits, the clock moves to the next time that somebody waits for.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            held(&self.0.timers).clear();
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            let next = held(&self.0.timers).iter().min().copied();
            *held(&self.0.now) = next.expect("something that is waited for");
        }
    }

    /// All that was called, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        held(&self.0.calls).clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.calls().len()
    }

    /// What the requests carried.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        held(&self.0.bodies).clone()
    }

    fn answer(&self, name: &str, count: usize) -> Answer {
        let all = self.0.answers.iter().find(|(known, _)| *known == name);
        let all = &all.unwrap_or_else(|| panic!("nobody is at {name}")).1;
        all[count.min(all.len() - 1)].clone()
    }

    pub(crate) async fn http(&self, request: &HttpRequest, deadline: Option<Millis>) -> Outcome {
        let address = request.uri.strip_prefix("http://world/").expect("an address of this world");
        let call = format!("{} {address}", request.method);
        let count = self.calls().iter().filter(|known| **known == call).count();
        held(&self.0.calls).push(call);
        let body = request.body.as_ref().map(|body| serde_json::from_slice(body).expect("JSON"));
        held(&self.0.bodies).push(body.unwrap_or(Value::Null));
        let place = address.split('?').next().expect("a beginning");
        match self.answer(place, count) {
            Answer::Ok(value) => Outcome::Done(value),
            Answer::Status(status) => {
                Outcome::Failed(Fault::communication(status, "Refused", format!("it answers {status}")))
            }
            Answer::Slow(length) => self.late(length, deadline).await,
        }
    }

    async fn late(&self, length: Millis, deadline: Option<Millis>) -> Outcome {
        let ready = self.now() + length;
        match deadline {
            Some(deadline) if deadline < ready => {
                self.sleep_until(deadline).await;
                Outcome::TimedOut
            }
            _ => {
                self.sleep_until(ready).await;
                Outcome::Done(json!("at last"))
            }
        }
    }

    pub(crate) async fn agent(
        &self,
        path: &str,
        request: &AgentRequest,
        deadline: Option<Millis>,
    ) -> Outcome {
        if let Some(known) = held(&self.0.children).get(path) {
            return known.clone();
        }
        let call = format!("{} is asked: {}", request.agent, request.message);
        let count = self.calls().iter().filter(|known| **known == call).count();
        held(&self.0.calls).push(call);
        let outcome = match self.answer(&request.agent, count) {
            Answer::Ok(text) => {
                let usage = json!({"input_tokens": 1, "output_tokens": 2});
                Outcome::Done(json!({"text": text, "execution": path, "usage": usage}))
            }
            Answer::Status(status) => Outcome::Failed(Fault::new(
                stigmer::workflow::fault::AGENT,
                status,
                "Agent Failed",
                "it did not know",
            )),
            Answer::Slow(length) => self.late(length, deadline).await,
        };
        held(&self.0.children).insert(path.to_owned(), outcome.clone());
        outcome
    }
}
