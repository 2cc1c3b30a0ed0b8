//! One execution, from its lease to its end.

use super::host::{WorkerHost, clean};
use super::work::{Shared, Work};
use crate::workflow::engine::Stop;
use crate::workflow::fault::{Fault, INTERRUPTED};
use crate::workflow::interpreter::{End, INTERPRETER_REVISION, Runtime, Start, run};
use crate::workflow::journaled::{Entry, Journaled};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use stigmer_protocol::api::{Leased, RawEvent};

/// Whatever happens to the thread, the execution is not in work any more when it has ended: then its lease runs out.
struct InWork {
    shared: Arc<Shared>,
    work: Arc<Work>,
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.shared.remove(&self.work);
    }
}

/// Begins to work on an execution.
pub(super) fn begin(shared: &Arc<Shared>, leased: Leased) {
    let work = Arc::new(Work::new(leased.lease.to_string(), leased.execution.cancel_requested));
    shared.add(&work);
    let in_work = InWork { shared: Arc::clone(shared), work };
    // Without a thread nothing is said of it, and somebody else gets it.
    let _ = super::thread("execution", move || carry_out(&in_work, leased));
}

fn carry_out(in_work: &InWork, leased: Leased) {
    let InWork { shared, work } = in_work;
    let redactor = &shared.redactor;
    let (word, body) = match outcome(shared, work, leased) {
        Ok(End::Completed(output)) => ("complete", json!({"output": clean(redactor, output)})),
        Ok(End::Failed { fault, task }) => ("fail", failure(&fault, task)),
        Err(Stop::Cancelled) => ("cancelled", json!({})),
        Err(Stop::Left) => match work.refused() {
            Some(words) => ("fail", failure(&Fault::runtime(format!("the server refuses: {words}")), None)),
            None => return,
        },
    };
    let body = clean(redactor, body);
    if let Err(words) = work.end(&shared.server, word, &body) {
        let fault = Fault::runtime(format!("the server refuses: {words}"));
        let _ = work.end(&shared.server, "fail", &failure(&fault, None));
    }
}

fn outcome(shared: &Arc<Shared>, work: &Arc<Work>, leased: Leased) -> Result<End, Stop> {
    let Leased { execution, definition, events, .. } = leased;
    let workflow = match crate::workflow::read(&definition) {
        Ok(workflow) => workflow,
        Err(problems) => {
            let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let words = format!("this version does not understand the workflow: {}", words.join("; "));
            let fault = Fault::new("configuration", 400, "Not Understood", words);
            return Ok(End::Failed { fault, task: None });
        }
    };
    let began = execution.started.as_ref().unwrap_or(&execution.created);
    let began = humantime::parse_rfc3339(began).unwrap_or(UNIX_EPOCH);
    let since = began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let entry =
        |RawEvent { kind, task, data, .. }| Entry { kind, task, data: data.value().unwrap_or_default() };
    let journal = events.into_iter().map(entry);
    let host = WorkerHost { shared: Arc::clone(shared), work: Arc::clone(work) };
    let journaled = Journaled::new(host, journal);
    let own = Runtime {
        name: "stigmer".to_owned(),
        version: crate::VERSION.to_owned(),
        revision: INTERPRETER_REVISION,
    };
    let runtime = match journaled.runtime(own)? {
        Ok(runtime) => runtime,
        Err(fault) => return Ok(End::Failed { fault, task: None }),
    };
    let start = Start {
        id: execution.id.into_string(),
        input: execution.input,
        started: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        runtime,
    };
    // The host blocks this thread, so every future is ready at once.
    let mut future = std::pin::pin!(run(&workflow, start, &journaled, &journaled));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}

fn failure(fault: &Fault, task: Option<String>) -> Value {
    // Longer words are in the journal.
    let words: String = fault.words().chars().take(4000).collect();
    let kind = if fault.kind == INTERRUPTED { "interrupted" } else { &fault.kind };
    let mut error = json!({"type": kind, "message": words});
    if let Some(task) = task {
        error["task"] = task.into();
    }
    json!({ "error": error })
}
