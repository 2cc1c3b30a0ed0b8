//! One execution, from its lease to its end.

use super::host::{WorkerHost, redacted};
use super::report::Work;
use super::shared::Shared;
use crate::workflow::Workflow;
use crate::workflow::engine::Stop;
use crate::workflow::fault::{Fault, INTERRUPTED};
use crate::workflow::interpreter::{End, INTERPRETER_REVISION, Runtime, Start, run};
use crate::workflow::journaled::{Entry, Journaled};
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use stigmer_protocol::api::events::RawEvent;
use stigmer_protocol::api::leases::Leased;

/// Largest number of characters of an error in the execution. All of it is in the journal.
const MAX_ERROR_CHARS: usize = 4000;

/// An execution in the list of those under way. However its future ends, it leaves the list, and its lease runs out.
struct UnderWay {
    shared: Rc<Shared>,
    work: Rc<Work>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.remove(&self.work);
    }
}

/// Begins to work on an execution.
pub(super) fn begin(shared: &Rc<Shared>, leased: Leased) {
    let work = Work::new(leased.lease.as_str().to_owned(), leased.execution.cancel_requested);
    let work = Rc::new(work);
    shared.add(&work);
    let under_way = UnderWay { shared: Rc::clone(shared), work };
    tokio::task::spawn_local(async move { carry_out(&under_way, leased).await });
}

async fn carry_out(under_way: &UnderWay, leased: Leased) {
    let UnderWay { shared, work } = under_way;
    let redactor = &shared.redactor;
    let (end, body) = match outcome(shared, work, leased).await {
        Ok(End::Completed(output)) => ("complete", json!({ "output": output })),
        Ok(End::Failed { fault, task }) => ("fail", failure(&fault, task)),
        Err(Stop::Cancelled) => ("cancelled", json!({})),
        Err(Stop::Left) => match work.refusal() {
            Some(reason) => ("fail", failure(&refused(&reason), None)),
            None => return,
        },
    };
    let body = redacted(redactor, body);
    if let Err(reason) = work.finish(&shared.server, end, &body).await {
        let _ = work.finish(&shared.server, "fail", &failure(&refused(&reason), None)).await;
    }
}

fn refused(reason: &str) -> Fault {
    Fault::runtime(format!("the server refuses: {reason}"))
}

async fn outcome(shared: &Rc<Shared>, work: &Rc<Work>, leased: Leased) -> Result<End, Stop> {
    let Leased { execution, definition, events, .. } = leased;
    let workflow = match read(shared, execution.digest.as_str(), definition).await {
        Ok(workflow) => workflow,
        Err(words) => {
            let words = format!("this version cannot execute the workflow: {words}");
            let fault = Fault::new("configuration", 400, "Invalid Workflow", words);
            return Ok(End::Failed { fault, task: None });
        }
    };
    let started = execution.started.as_ref().unwrap_or(&execution.created);
    let started = humantime::parse_rfc3339(started).unwrap_or(UNIX_EPOCH);
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let entry =
        |RawEvent { kind, task, data, .. }| Entry { kind, task, data: data.value().unwrap_or_default() };
    let journaled = Journaled::new(WorkerHost::new(shared, work), events.into_iter().map(entry));
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
    run(&workflow, start, &journaled, &journaled).await
}

/// Reads a definition, or takes it from those that were read before.
async fn read(shared: &Shared, digest: &str, definition: Value) -> Result<Arc<Workflow>, String> {
    if let Some(workflow) = shared.definition(digest) {
        return Ok(workflow);
    }
    let workflow = shared.evaluator.run(move || crate::workflow::read_here(&definition)).await?;
    let workflow = workflow
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let workflow = Arc::new(workflow);
    shared.keep_definition(digest, &workflow);
    Ok(workflow)
}

fn failure(fault: &Fault, task: Option<String>) -> Value {
    let words: String = fault.words().chars().take(MAX_ERROR_CHARS).collect();
    let kind = if fault.kind == INTERRUPTED { "interrupted" } else { &fault.kind };
    let mut error = json!({"type": kind, "message": words});
    if let Some(task) = task {
        error["task"] = task.into();
    }
    json!({ "error": error })
}
