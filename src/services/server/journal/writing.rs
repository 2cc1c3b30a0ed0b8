//! Adding to journals, inside a transaction that somebody else begins and ends.

use super::reading::{SELECT, events_after, find, history, one};
use super::{Error, Event, Execution, ExecutionKind, Leased, Outcome, Phase, Report};
use crate::services::server::refusal::Refusal;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use stigmer_protocol::id;
use stigmer_protocol::time::now;

/// A workflow that so many workers were lost with, one after the other and none of them getting anywhere, is not given to another.
const MOST_ATTEMPTS: u32 = 5;

/// Workers that are lost over a longer time are not lost because of what they do.
const ALL_AT_ONCE: Duration = Duration::from_secs(600);

/// The error of an execution whose worker was lost.
pub const INTERRUPTED: &str = "interrupted";

/// What is asked for when something is to be executed.
#[derive(Debug, Clone, Default)]
pub struct NewExecution {
    /// What is executed; needed only if both kinds have the name.
    pub kind: Option<ExecutionKind>,
    /// The name of the agent or workflow.
    pub name: String,
    /// What an agent is told.
    pub message: Option<String>,
    /// What it is given.
    pub input: Value,
    /// The conversation to go on with; a new one if there is none.
    pub session: Option<String>,
    /// Asked again with the same key, the first execution is the answer.
    pub key: Option<String>,
    /// The execution that calls it, and the path of the calling task.
    pub parent: Option<(String, String)>,
    /// The interrupted execution that is taken up again.
    pub resumes: Option<String>,
}

/// An id for something new; ids sort by age.
fn new_id() -> Result<String, Refusal> {
    id::generate().map_err(|error| Refusal::internal(format!("there is no randomness for an id: {error}")))
}

/// Begins an execution. The second value is `false` if it had begun before: then nothing is changed.
pub fn create(tx: &Connection, new: &NewExecution) -> Result<(Execution, bool), Refusal> {
    if let Some(known) = begun_before(tx, new)? {
        return Ok((known, false));
    }
    if let Some((parent, _)) = &new.parent {
        let parent = find(tx, parent)?;
        if parent.cancel_requested || parent.phase.is_terminal() {
            return Err(Refusal::conflict(format!(
                "execution {} is called off: it begins nothing more",
                parent.id
            )));
        }
    }
    let (kind, digest) = resolve(tx, new)?;
    let id = new_id()?;
    let session = match kind {
        ExecutionKind::Agent => Some(session(tx, new, &id)?),
        ExecutionKind::Workflow if new.message.is_some() => {
            return Err(Refusal::bad(format!("`{}` is a workflow: it takes input, no message", new.name)));
        }
        ExecutionKind::Workflow if new.session.is_some() => {
            return Err(Refusal::bad(format!("`{}` is a workflow: it has no sessions", new.name)));
        }
        ExecutionKind::Workflow => None,
    };
    let (parent, task) = new.parent.clone().unzip();
    let data = json!({
        "kind": kind, "name": new.name, "digest": digest, "input": new.input, "message": new.message,
        "session": session, "parent": parent, "resumes": new.resumes,
    });
    let event = Event { seq: 1, time: now(), kind: "created".to_owned(), task: None, data };
    let execution =
        Execution::begin(&id, &event).ok_or_else(|| Refusal::internal("an execution cannot begin"))?;
    tx.prepare_cached(
        "INSERT INTO execution (id, kind, name, digest, phase, session, parent, parent_task, key, input, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, '')",
    )?
    .execute(params![
        id, kind.word(), new.name, digest, execution.phase.word(), session, parent, task, new.key,
        new.input.to_string()
    ])?;
    write_event(tx, &id, &event)?;
    save(tx, &execution)?;
    Ok((execution, true))
}

fn begun_before(tx: &Connection, new: &NewExecution) -> Result<Option<Execution>, Refusal> {
    if let Some((parent, task)) = &new.parent {
        let sql = format!("{SELECT} WHERE parent = ?1 AND parent_task = ?2");
        return one(tx, &sql, params![parent, task]);
    }
    match &new.key {
        Some(key) => one(tx, &format!("{SELECT} WHERE key = ?1"), params![key]),
        None => Ok(None),
    }
}

/// The kind and the definition that a name means now.
fn resolve(tx: &Connection, new: &NewExecution) -> Result<(ExecutionKind, String), Refusal> {
    let mut statement =
        tx.prepare_cached("SELECT kind, digest FROM resource WHERE name = ?1 ORDER BY kind")?;
    let found: Vec<(String, String)> =
        statement.query_map([&new.name], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut found = found.into_iter().filter_map(|(word, digest)| {
        let kind = if word == "agent" { ExecutionKind::Agent } else { ExecutionKind::Workflow };
        new.kind.is_none_or(|wanted| wanted == kind).then_some((kind, digest))
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Refusal::missing(format!(
            "there is no {} `{}`",
            new.kind.map_or("agent or workflow", ExecutionKind::word),
            new.name
        ))
        .hint("`stigmer list` shows what there is; `stigmer apply -f FILE` adds to it")),
        (Some(_), Some(_)) => Err(Refusal::conflict(format!("`{}` is an agent and a workflow", new.name))
            .hint("say which: `--kind agent` or `--kind workflow`")),
    }
}

/// The session of a new execution of an agent. A conversation goes on only when its last answer has been given.
fn session(tx: &Connection, new: &NewExecution, id: &str) -> Result<String, Refusal> {
    if new.message.as_deref().is_none_or(|message| message.trim().is_empty()) {
        return Err(
            Refusal::bad(format!("the agent `{}` needs a message", new.name)).hint("give one with --message")
        );
    }
    let Some(session) = &new.session else {
        tx.execute(
            "INSERT INTO session (id, agent, created) VALUES (?1, ?2, ?3)",
            params![id, new.name, now()],
        )?;
        return Ok(id.to_owned());
    };
    let agent: Option<String> =
        tx.query_row("SELECT agent FROM session WHERE id = ?1", [session], |row| row.get(0)).optional()?;
    match agent {
        None => return Err(Refusal::missing(format!("there is no session `{session}`"))),
        Some(agent) if agent != new.name => {
            return Err(Refusal::conflict(format!(
                "the session `{session}` is one with the agent `{agent}`"
            )));
        }
        Some(_) => {}
    }
    let sql = format!("{SELECT} WHERE session = ?1 AND phase IN ('PENDING', 'IN_PROGRESS')");
    match one(tx, &sql, params![session])? {
        None => Ok(session.clone()),
        Some(open) => {
            Err(Refusal::conflict(format!("the session `{session}` is busy with execution {}", open.id))
                .hint("wait for its answer, cancel it, or begin another session"))
        }
    }
}

fn write_event(tx: &Connection, id: &str, event: &Event) -> Result<(), Refusal> {
    tx.prepare_cached(
        "INSERT INTO event (execution, seq, time, type, task, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![id, event.seq, event.time, event.kind, event.task, event.data.to_string()])?;
    Ok(())
}

/// Adds an event to the journal and to the sum. [`save`] has to follow.
fn append(
    tx: &Connection,
    execution: &mut Execution,
    kind: &str,
    task: Option<String>,
    data: Value,
) -> Result<(), Refusal> {
    let event = Event { seq: execution.last_seq + 1, time: now(), kind: kind.to_owned(), task, data };
    write_event(tx, &execution.id, &event)?;
    execution.apply(&event);
    Ok(())
}

/// Writes the sum. Input and output stand apart, because they can be long and change at most once.
fn save(tx: &Connection, execution: &Execution) -> Result<(), Refusal> {
    let output = execution.output.as_ref().map(Value::to_string);
    let state = Execution { input: Value::Null, output: None, ..execution.clone() };
    tx.prepare_cached("UPDATE execution SET phase = ?2, output = ?3, state = ?4 WHERE id = ?1")?
        .execute(params![execution.id, execution.phase.word(), output, serde_json::to_string(&state)?])?;
    Ok(())
}

/// Gives the oldest execution of one of `kinds` that nobody holds to `worker`.
pub fn lease(
    tx: &Connection,
    worker: &str,
    kinds: &[ExecutionKind],
    lease_ms: u64,
) -> Result<Option<Leased>, Refusal> {
    let mut oldest: Option<Execution> = None;
    for kind in kinds {
        let sql = format!(
            "{SELECT} WHERE kind = ?1 AND phase IN ('PENDING', 'IN_PROGRESS') AND lease IS NULL ORDER BY id LIMIT 1"
        );
        let found = one(tx, &sql, [kind.word()])?;
        oldest = [oldest, found].into_iter().flatten().min_by(|a, b| a.id.cmp(&b.id));
    }
    let Some(mut execution) = oldest else { return Ok(None) };
    let lease = format!("l-{}", new_id()?);
    let events = events_after(tx, &execution.id, 0, u32::MAX)?;
    let attempt = execution.attempt + 1;
    append(tx, &mut execution, "started", None, json!({"worker": worker, "attempt": attempt}))?;
    save(tx, &execution)?;
    tx.prepare_cached("UPDATE execution SET lease = ?2, lease_worker = ?3, lease_n = 0 WHERE id = ?1")?
        .execute(params![execution.id, lease, worker])?;
    let spec: String =
        tx.query_row("SELECT spec FROM definition WHERE digest = ?1", [&execution.digest], |row| row.get(0))?;
    let history = match &execution.session {
        Some(session) => history(tx, session, &execution.id)?,
        None => Vec::new(),
    };
    Ok(Some(Leased { lease, lease_ms, definition: serde_json::from_str(&spec)?, execution, events, history }))
}

fn held(tx: &Connection, lease: &str) -> Result<(Execution, u64), Refusal> {
    let found = one(tx, &format!("{SELECT} WHERE lease = ?1"), [lease])?;
    let execution = found.ok_or_else(|| {
        Refusal::gone("this lease does not hold any more: leave the execution to whoever has it now")
    })?;
    let n = tx.query_row("SELECT lease_n FROM execution WHERE lease = ?1", [lease], |row| row.get(0))?;
    Ok((execution, n))
}

/// The execution that `lease` holds.
///
/// # Errors
/// The lease does not hold any more.
pub(in crate::services::server) fn holder(tx: &Connection, lease: &str) -> Result<Execution, Refusal> {
    held(tx, lease).map(|(execution, _)| execution)
}

/// Takes in what a worker says of the execution it holds. Gives the execution, the last event of this lease, and the executions
/// that were called off with it.
pub fn report(
    tx: &Connection,
    lease: &str,
    report: Report,
) -> Result<(Execution, u64, Vec<String>), Refusal> {
    let (mut execution, mut last_n) = held(tx, lease)?;
    for event in report.events {
        if event.n <= last_n {
            continue;
        }
        if event.n != last_n + 1 {
            return Err(Refusal::conflict(format!("event {} is missing: send again from there", last_n + 1)));
        }
        last_n = event.n;
        append(tx, &mut execution, &event.kind, event.task, event.data)?;
    }
    let mut cancelled = Vec::new();
    let over = match report.outcome {
        None => None,
        Some(Outcome::Completed(output)) => Some(("completed", json!({ "output": output }))),
        Some(Outcome::Failed(error)) => Some(("failed", json!({ "error": error }))),
        Some(Outcome::Cancelled) => Some(("cancelled", json!({}))),
    };
    if let Some((kind, data)) = over {
        append(tx, &mut execution, kind, None, data)?;
        release(tx, &execution.id)?;
        cancelled = cancel_children(tx, &execution.id)?;
    } else {
        tx.prepare_cached("UPDATE execution SET lease_n = ?2 WHERE id = ?1")?
            .execute(params![execution.id, last_n])?;
    }
    save(tx, &execution)?;
    Ok((execution, last_n, cancelled))
}

fn release(tx: &Connection, id: &str) -> Result<(), Refusal> {
    tx.prepare_cached("UPDATE execution SET lease = NULL, lease_worker = NULL WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Calls an execution off, and those it called. Gives all that it reached. One that nobody holds ends at once; a worker hears of
/// it with its next heartbeat.
///
/// # Errors
/// It has ended already.
pub fn cancel(tx: &Connection, id: &str) -> Result<Vec<String>, Refusal> {
    let mut execution = find(tx, id)?;
    if execution.phase.is_terminal() {
        return Err(Refusal::conflict(format!(
            "execution {id} has ended already: {}",
            execution.phase.word()
        )));
    }
    if !execution.cancel_requested {
        append(tx, &mut execution, "cancel.requested", None, json!({}))?;
    }
    let is_held: bool =
        tx.query_row("SELECT lease IS NOT NULL FROM execution WHERE id = ?1", [id], |row| row.get(0))?;
    if !is_held {
        append(tx, &mut execution, "cancelled", None, json!({}))?;
    }
    save(tx, &execution)?;
    let mut reached = vec![id.to_owned()];
    reached.extend(cancel_children(tx, id)?);
    Ok(reached)
}

fn cancel_children(tx: &Connection, id: &str) -> Result<Vec<String>, Refusal> {
    let mut statement = tx.prepare_cached(
        "SELECT id FROM execution WHERE parent = ?1 AND phase IN ('PENDING', 'IN_PROGRESS')",
    )?;
    let children: Vec<String> = statement.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut reached = Vec::new();
    for child in children {
        reached.extend(cancel(tx, &child)?);
    }
    Ok(reached)
}

/// Takes an execution from a worker that was not heard of any more. A workflow goes on with another one, from where its journal
/// ends; what an agent has done cannot be known, so it is not done again unless somebody asks ([`resume`]).
///
/// `is_given_back` if its worker said goodbye. Gives the executions that it reached.
pub fn expire(tx: &Connection, lease: &str, is_given_back: bool) -> Result<Vec<String>, Refusal> {
    let Ok((mut execution, _)) = held(tx, lease) else { return Ok(Vec::new()) };
    let mut reached = vec![execution.id.clone()];
    let data = json!({"lease": lease, "given_back": is_given_back});
    append(tx, &mut execution, "lease.expired", None, data)?;
    release(tx, &execution.id)?;
    let is_spent = lost_in_vain(tx, &execution.id)? >= MOST_ATTEMPTS;
    if execution.cancel_requested {
        append(tx, &mut execution, "cancelled", None, json!({}))?;
        reached.extend(cancel_children(tx, &execution.id)?);
    } else if execution.kind == ExecutionKind::Agent || is_spent {
        let hint = match execution.kind {
            ExecutionKind::Agent => Some(format!("`stigmer execution resume {}` asks again", execution.id)),
            ExecutionKind::Workflow => None,
        };
        let message = match execution.kind {
            ExecutionKind::Agent => "the worker was lost in the middle of it".to_owned(),
            ExecutionKind::Workflow => format!("{MOST_ATTEMPTS} workers were lost in the middle of it"),
        };
        let error = Error { kind: INTERRUPTED.to_owned(), message, hint, task: None };
        append(tx, &mut execution, "failed", None, json!({ "error": error }))?;
        reached.extend(cancel_children(tx, &execution.id)?);
    }
    save(tx, &execution)?;
    Ok(reached)
}

/// How many workers were lately lost with an execution since anything happened in it. One that waits for days survives any number
/// of restarts.
fn lost_in_vain(tx: &Connection, id: &str) -> Result<u32, Refusal> {
    let recent = SystemTime::now().checked_sub(ALL_AT_ONCE).unwrap_or(SystemTime::UNIX_EPOCH);
    let recent = humantime::format_rfc3339_millis(recent).to_string();
    let mut statement = tx.prepare_cached(
        "SELECT type, time, data FROM event WHERE execution = ?1 ORDER BY seq DESC LIMIT 100",
    )?;
    let rows = statement.query_map([id], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut lost = 0;
    for row in rows {
        let (kind, time, data) = row?;
        match kind.as_str() {
            "started" => {}
            "lease.expired" if time >= recent => {
                let data: Value = serde_json::from_str(&data)?;
                lost += u32::from(data["given_back"] != true);
            }
            _ => break,
        }
    }
    Ok(lost)
}

/// Takes up an interrupted execution of an agent: a new one, in the same session, with the same message.
///
/// # Errors
/// It was not interrupted.
pub fn resume(tx: &Connection, id: &str) -> Result<(Execution, bool), Refusal> {
    let past = find(tx, id)?;
    let is_interrupted = past.error.as_ref().is_some_and(|error| error.kind == INTERRUPTED);
    if past.phase != Phase::Failed || !is_interrupted || past.kind != ExecutionKind::Agent {
        return Err(Refusal::conflict(format!(
            "execution {id} is {} and was not interrupted",
            past.phase.word()
        ))
        .hint(
            "only an agent's execution whose worker was lost can be resumed; `stigmer run` begins a new one",
        ));
    }
    create(
        tx,
        &NewExecution {
            kind: Some(past.kind),
            name: past.name,
            message: past.message,
            input: past.input,
            session: past.session,
            // Asked twice, it is resumed once.
            key: Some(format!("resume:{id}")),
            parent: None,
            resumes: Some(id.to_owned()),
        },
    )
}
