//! Adding to journals, inside a transaction that somebody else begins and ends.

use super::reading::{SELECT, events_after, find, history, one};
use super::report::Reported;
use super::{
    Event, Execution, ExecutionError, ExecutionId, JournalEvent, Kind, LeaseId, Leased, Outcome, Phase,
    Report, SessionId, WorkerId,
};
use crate::services::server::refusal::Refusal;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use std::time::{Duration, SystemTime};
use stigmer_protocol::api::events::{Completed, Created, Failed, LeaseExpired, Started};
use stigmer_protocol::api::workers::Empty;
use stigmer_protocol::time::now;
use stigmer_protocol::{DefinitionDigest, Json, id};

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
    pub kind: Option<Kind>,
    /// The name of the agent or workflow.
    pub name: String,
    /// What an agent is told.
    pub message: Option<String>,
    /// What it is given.
    pub input: Value,
    /// The conversation to go on with; a new one if there is none.
    pub session: Option<SessionId>,
    /// Asked again with the same key, the first execution is the answer.
    pub key: Option<String>,
    /// The execution that calls it, and the path of the calling task.
    pub parent: Option<(ExecutionId, String)>,
    /// The interrupted execution that is taken up again.
    pub resumes: Option<ExecutionId>,
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
    let id = ExecutionId::from(new_id()?);
    let session = match kind {
        Kind::Agent => Some(session(tx, new, &id)?),
        Kind::Workflow if new.message.is_some() => {
            return Err(Refusal::bad(format!("`{}` is a workflow: it takes input, no message", new.name)));
        }
        Kind::Workflow if new.session.is_some() => {
            return Err(Refusal::bad(format!("`{}` is a workflow: it has no sessions", new.name)));
        }
        Kind::Workflow => None,
    };
    let (parent, task) = new.parent.clone().unzip();
    let event = Event::Created(Created {
        kind,
        name: new.name.clone(),
        digest,
        input: new.input.clone(),
        message: new.message.clone(),
        session,
        parent,
        resumes: new.resumes.clone(),
    });
    let event = JournalEvent { seq: 1, time: now(), task: None, event };
    let execution =
        Execution::begin(&id, &event).ok_or_else(|| Refusal::internal("an execution cannot begin"))?;
    tx.prepare_cached(
        "INSERT INTO execution (id, kind, name, digest, phase, session, parent, parent_task, key, input, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, '')",
    )?
    .execute(params![
        id.as_str(),
        kind.word(),
        new.name,
        execution.digest.as_str(),
        execution.phase.word(),
        execution.session.as_deref(),
        execution.parent.as_deref(),
        task,
        new.key,
        new.input.to_string()
    ])?;
    let data = event.event.data()?;
    write_event(tx, &id, (1, &event.time, event.event.kind(), None), &data)?;
    save(tx, &execution)?;
    Ok((execution, true))
}

fn begun_before(tx: &Connection, new: &NewExecution) -> Result<Option<Execution>, Refusal> {
    if let Some((parent, task)) = &new.parent {
        let sql = format!("{SELECT} WHERE parent = ?1 AND parent_task = ?2");
        return one(tx, &sql, params![parent.as_str(), task]);
    }
    match &new.key {
        Some(key) => one(tx, &format!("{SELECT} WHERE key = ?1"), params![key]),
        None => Ok(None),
    }
}

/// The kind and the definition that a name means now.
fn resolve(tx: &Connection, new: &NewExecution) -> Result<(Kind, DefinitionDigest), Refusal> {
    let mut statement =
        tx.prepare_cached("SELECT kind, digest FROM resource WHERE name = ?1 ORDER BY kind")?;
    let found: Vec<(String, String)> =
        statement.query_map([&new.name], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut found = found.into_iter().filter_map(|(word, digest)| {
        let kind: Kind = word.parse().ok()?;
        new.kind.is_none_or(|wanted| wanted == kind).then_some((kind, digest.into()))
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Refusal::missing(format!(
            "there is no {} `{}`",
            new.kind.map_or("agent or workflow", Kind::word),
            new.name
        ))
        .hint("`stigmer list` shows what there is; `stigmer apply -f FILE` adds to it")),
        (Some(_), Some(_)) => Err(Refusal::conflict(format!("`{}` is an agent and a workflow", new.name))
            .hint("say which: `--kind agent` or `--kind workflow`")),
    }
}

/// The session of a new execution of an agent. A conversation goes on only when its last answer has been given.
fn session(tx: &Connection, new: &NewExecution, id: &ExecutionId) -> Result<SessionId, Refusal> {
    if new.message.as_deref().is_none_or(|message| message.trim().is_empty()) {
        return Err(
            Refusal::bad(format!("the agent `{}` needs a message", new.name)).hint("give one with --message")
        );
    }
    let Some(session) = &new.session else {
        tx.execute(
            "INSERT INTO session (id, agent, created) VALUES (?1, ?2, ?3)",
            params![id.as_str(), new.name, now()],
        )?;
        return Ok(id.clone().into());
    };
    let agent: Option<String> = tx
        .query_row("SELECT agent FROM session WHERE id = ?1", [session.as_str()], |row| row.get(0))
        .optional()?;
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
    match one(tx, &sql, [session.as_str()])? {
        None => Ok(session.clone()),
        Some(open) => {
            Err(Refusal::conflict(format!("the session `{session}` is busy with execution {}", open.id))
                .hint("wait for its answer, cancel it, or begin another session"))
        }
    }
}

fn write_event(
    tx: &Connection,
    id: &ExecutionId,
    (seq, time, kind, task): (u64, &str, &str, Option<&str>),
    data: &Json,
) -> Result<(), Refusal> {
    tx.prepare_cached(
        "INSERT INTO event (execution, seq, time, type, task, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![id.as_str(), seq, time, kind, task, data.text()])?;
    Ok(())
}

/// Adds an event of the server to the journal and to the sum. [`save`] has to follow.
fn append(tx: &Connection, execution: &mut Execution, event: &Event) -> Result<(), Refusal> {
    let data = event.data()?;
    append_data(tx, execution, event, None, &data)
}

/// Adds an event with its data as it was sent.
fn append_data(
    tx: &Connection,
    execution: &mut Execution,
    event: &Event,
    task: Option<&str>,
    data: &Json,
) -> Result<(), Refusal> {
    let (seq, time) = (execution.last_seq + 1, now());
    write_event(tx, &execution.id, (seq, &time, event.kind(), task), data)?;
    execution.add(seq, &time, event);
    Ok(())
}

/// Writes the sum. Input and output stand apart, because they can be long and change at most once.
fn save(tx: &Connection, execution: &Execution) -> Result<(), Refusal> {
    let output = execution.output.as_ref().map(Value::to_string);
    let state = Execution { input: Value::Null, output: None, ..execution.clone() };
    tx.prepare_cached("UPDATE execution SET phase = ?2, output = ?3, state = ?4 WHERE id = ?1")?.execute(
        params![execution.id.as_str(), execution.phase.word(), output, serde_json::to_string(&state)?],
    )?;
    Ok(())
}

/// Gives the oldest execution of one of `kinds` that nobody holds to `worker`.
pub fn lease(
    tx: &Connection,
    worker: &WorkerId,
    kinds: &[Kind],
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
    let lease = LeaseId::from(format!("l-{}", new_id()?));
    let events = events_after(tx, &execution.id, 0, u32::MAX)?;
    let attempt = execution.attempt + 1;
    append(tx, &mut execution, &Event::Started(Started { worker: worker.clone(), attempt }))?;
    save(tx, &execution)?;
    tx.prepare_cached("UPDATE execution SET lease = ?2, lease_worker = ?3, lease_n = 0 WHERE id = ?1")?
        .execute([execution.id.as_str(), lease.as_str(), worker.as_str()])?;
    let spec: String =
        tx.query_row("SELECT spec FROM definition WHERE digest = ?1", [execution.digest.as_str()], |row| {
            row.get(0)
        })?;
    let history = match &execution.session {
        Some(session) => history(tx, session, &execution.id)?,
        None => Vec::new(),
    };
    Ok(Some(Leased { lease, lease_ms, definition: serde_json::from_str(&spec)?, execution, events, history }))
}

fn held(tx: &Connection, lease: &LeaseId) -> Result<(Execution, u64), Refusal> {
    let found = one(tx, &format!("{SELECT} WHERE lease = ?1"), [lease.as_str()])?;
    let execution = found.ok_or_else(Refusal::lease_lost)?;
    let n =
        tx.query_row("SELECT lease_n FROM execution WHERE lease = ?1", [lease.as_str()], |row| row.get(0))?;
    Ok((execution, n))
}

/// The execution that `lease` holds.
///
/// # Errors
/// The lease does not hold any more.
pub(in crate::services::server) fn holder(tx: &Connection, lease: &LeaseId) -> Result<Execution, Refusal> {
    held(tx, lease).map(|(execution, _)| execution)
}

/// Takes in what a worker says of the execution it holds. Gives the execution, the last event of this lease, and the executions
/// that were called off with it.
pub fn report(
    tx: &Connection,
    lease: &LeaseId,
    report: Report,
) -> Result<(Execution, u64, Vec<ExecutionId>), Refusal> {
    let (mut execution, mut last_n) = held(tx, lease)?;
    for Reported { n, task, data, event } in report.events {
        if n <= last_n {
            continue;
        }
        if n != last_n + 1 {
            return Err(Refusal::conflict(format!("event {} is missing: send again from there", last_n + 1)));
        }
        last_n = n;
        append_data(tx, &mut execution, &event, task.as_deref(), &data)?;
    }
    let mut cancelled = Vec::new();
    let over = match report.outcome {
        None => None,
        Some(Outcome::Completed(output)) => Some(Event::Completed(Completed { output })),
        Some(Outcome::Failed(error)) => Some(Event::Failed(Failed { error })),
        Some(Outcome::Cancelled) => Some(Event::Cancelled(Empty {})),
    };
    if let Some(end) = over {
        append(tx, &mut execution, &end)?;
        release(tx, &execution.id)?;
        cancelled = cancel_children(tx, &execution.id)?;
    } else {
        tx.prepare_cached("UPDATE execution SET lease_n = ?2 WHERE id = ?1")?
            .execute(params![execution.id.as_str(), last_n])?;
    }
    save(tx, &execution)?;
    Ok((execution, last_n, cancelled))
}

fn release(tx: &Connection, id: &ExecutionId) -> Result<(), Refusal> {
    tx.prepare_cached("UPDATE execution SET lease = NULL, lease_worker = NULL WHERE id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

/// Calls an execution off, and those it called. Gives all that it reached. One that nobody holds ends at once; a worker hears of
/// it with its next heartbeat.
///
/// # Errors
/// It has ended already.
pub fn cancel(tx: &Connection, id: &ExecutionId) -> Result<Vec<ExecutionId>, Refusal> {
    let mut execution = find(tx, id)?;
    if execution.phase.is_terminal() {
        return Err(Refusal::conflict(format!(
            "execution {id} has ended already: {}",
            execution.phase.word()
        )));
    }
    if !execution.cancel_requested {
        append(tx, &mut execution, &Event::CancelRequested(Empty {}))?;
    }
    let is_held: bool =
        tx.query_row("SELECT lease IS NOT NULL FROM execution WHERE id = ?1", [id.as_str()], |row| {
            row.get(0)
        })?;
    if !is_held {
        append(tx, &mut execution, &Event::Cancelled(Empty {}))?;
    }
    save(tx, &execution)?;
    let mut reached = vec![id.clone()];
    reached.extend(cancel_children(tx, id)?);
    Ok(reached)
}

fn cancel_children(tx: &Connection, id: &ExecutionId) -> Result<Vec<ExecutionId>, Refusal> {
    let mut statement = tx.prepare_cached(
        "SELECT id FROM execution WHERE parent = ?1 AND phase IN ('PENDING', 'IN_PROGRESS')",
    )?;
    let children: Vec<String> =
        statement.query_map([id.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut reached = Vec::new();
    for child in children {
        reached.extend(cancel(tx, &child.into())?);
    }
    Ok(reached)
}

/// Takes an execution from a worker that was not heard of any more. A workflow goes on with another one, from where its journal
/// ends; what an agent has done cannot be known, so it is not done again unless somebody asks ([`resume`]).
///
/// `is_given_back` if its worker said goodbye. Gives the executions that it reached.
pub fn expire(tx: &Connection, lease: &LeaseId, is_given_back: bool) -> Result<Vec<ExecutionId>, Refusal> {
    let Ok((mut execution, _)) = held(tx, lease) else { return Ok(Vec::new()) };
    let mut reached = vec![execution.id.clone()];
    let lost = LeaseExpired { lease: lease.clone(), given_back: is_given_back };
    append(tx, &mut execution, &Event::LeaseExpired(lost))?;
    release(tx, &execution.id)?;
    let is_spent = lost_in_vain(tx, &execution.id)? >= MOST_ATTEMPTS;
    if execution.cancel_requested {
        append(tx, &mut execution, &Event::Cancelled(Empty {}))?;
        reached.extend(cancel_children(tx, &execution.id)?);
    } else if execution.kind == Kind::Agent || is_spent {
        let hint = match execution.kind {
            Kind::Agent => Some(format!("`stigmer execution resume {}` asks again", execution.id)),
            Kind::Workflow => None,
        };
        let message = match execution.kind {
            Kind::Agent => "the worker was lost in the middle of it".to_owned(),
            Kind::Workflow => format!("{MOST_ATTEMPTS} workers were lost in the middle of it"),
        };
        let error = ExecutionError { kind: INTERRUPTED.to_owned(), message, hint, task: None };
        append(tx, &mut execution, &Event::Failed(Failed { error }))?;
        reached.extend(cancel_children(tx, &execution.id)?);
    }
    save(tx, &execution)?;
    Ok(reached)
}

/// How many workers were lately lost with an execution since anything happened in it. One that waits for days survives any number
/// of restarts.
fn lost_in_vain(tx: &Connection, id: &ExecutionId) -> Result<u32, Refusal> {
    let recent = SystemTime::now().checked_sub(ALL_AT_ONCE).unwrap_or(SystemTime::UNIX_EPOCH);
    let recent = humantime::format_rfc3339_millis(recent).to_string();
    let mut statement = tx.prepare_cached(
        "SELECT type, time, data FROM event WHERE execution = ?1 ORDER BY seq DESC LIMIT 100",
    )?;
    let rows = statement.query_map([id.as_str()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut lost = 0;
    for row in rows {
        let (kind, time, data) = row?;
        match kind.as_str() {
            "started" => {}
            "lease.expired" if time >= recent => {
                let expired: LeaseExpired = serde_json::from_str(&data)?;
                lost += u32::from(!expired.given_back);
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
pub fn resume(tx: &Connection, id: &ExecutionId) -> Result<(Execution, bool), Refusal> {
    let past = find(tx, id)?;
    let is_interrupted = past.error.as_ref().is_some_and(|error| error.kind == INTERRUPTED);
    if past.phase != Phase::Failed || !is_interrupted || past.kind != Kind::Agent {
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
            resumes: Some(id.clone()),
        },
    )
}
