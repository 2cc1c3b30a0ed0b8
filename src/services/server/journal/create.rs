//! Beginning executions, inside a transaction that the caller begins and ends.

use super::reading::{find, one};
use super::row::Row;
use super::{Event, Execution, ExecutionId, INTERRUPTED, JournalEvent, Kind, Phase, SessionId, new_id};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::store::statements::{
    EVENT_INSERT, EXECUTION_BY_KEY, EXECUTION_BY_TASK, EXECUTION_INSERT, RESOURCE_DEFINITION, SESSION_AGENT,
    SESSION_INSERT, SESSION_NEWEST,
};
use rusqlite::params;
use serde_json::Value;
use stigmer_protocol::DefinitionDigest;
use stigmer_protocol::api::events::Created;
use stigmer_protocol::time::{format_ms, now_ms};

/// A request to execute an agent or workflow.
#[derive(Debug, Clone, Default)]
pub struct NewExecution {
    /// The kind; needed only if an agent and a workflow have the name.
    pub kind: Option<Kind>,
    /// The name of the agent or workflow.
    pub name: String,
    /// The message to an agent.
    pub message: Option<String>,
    /// The input.
    pub input: Value,
    /// The session to continue; `None` begins a new one.
    pub session: Option<SessionId>,
    /// The idempotency key: a second request with the same key is answered with the first execution.
    pub key: Option<String>,
    /// The calling execution, and the path of the calling task.
    pub parent: Option<(ExecutionId, String)>,
    /// The interrupted execution that this one resumes.
    pub resumes: Option<ExecutionId>,
    /// The engine that runs it.
    pub engine: EngineName,
}

/// The name of a workflow engine, as the first event of an execution records it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineName {
    /// The journal in the server's own database.
    #[default]
    Local,
}

impl EngineName {
    /// As it stands in events and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
        }
    }
}

/// Begins an execution. The second value is `false` if it had begun before: then nothing is changed.
///
/// # Errors
/// The agent or workflow is not found or ambiguous, the message or session does not fit, or the parent is cancelled.
pub fn create(tx: &Tx, new: &NewExecution) -> Result<(Execution, bool), Refusal> {
    let parent = new.parent.as_ref().map(|(id, _)| Row::find(tx, id)).transpose()?;
    if let Some(known) = begun_before(tx, new, parent.as_ref())? {
        return Ok((known, false));
    }
    if let Some(parent) = &parent
        && (parent.cancel_requested || parent.phase.is_terminal())
    {
        let words = format!("execution {} is cancelled: it cannot begin child executions", parent.id);
        return Err(Refusal::conflict(words));
    }
    let (kind, definition, digest) = resolve(tx, new)?;
    let (id, created) = (ExecutionId::from(new_id()?), now_ms());
    let session = match kind {
        Kind::Agent => Some(session(tx, new, &id, created)?),
        Kind::Workflow if new.message.is_some() => {
            return Err(Refusal::bad(format!("`{}` is a workflow: it takes input, no message", new.name)));
        }
        Kind::Workflow if new.session.is_some() => {
            return Err(Refusal::bad(format!("`{}` is a workflow: it has no sessions", new.name)));
        }
        Kind::Workflow => None,
    };
    let (parent_id, task) = new.parent.clone().unzip();
    let event = Event::Created(Created {
        kind,
        name: new.name.clone(),
        digest,
        input: new.input.clone(),
        message: new.message.clone(),
        session: session.clone(),
        parent: parent_id,
        resumes: new.resumes.clone(),
        engine: Some(new.engine.word().to_owned()),
    });
    tx.execute(
        EXECUTION_INSERT,
        params![
            id.as_str(),
            kind.word(),
            new.name,
            new.engine.word(),
            definition,
            session.as_deref(),
            parent.map(|parent| parent.n),
            task,
            new.key,
            created
        ],
    )?;
    let (n, data) = (tx.inserted(), event.data()?);
    tx.execute(EVENT_INSERT, params![n, 1, created, event.kind(), None::<String>, data.text()])?;
    let event = JournalEvent { seq: 1, time: format_ms(created), task: None, event };
    let execution =
        Execution::begin(&id, &event).ok_or_else(|| Refusal::internal("an execution cannot begin"))?;
    Ok((execution, true))
}

fn begun_before(tx: &Tx, new: &NewExecution, parent: Option<&Row>) -> Result<Option<Execution>, Refusal> {
    match (&new.parent, parent, &new.key) {
        (Some((_, task)), Some(parent), _) => one(tx, EXECUTION_BY_TASK, params![parent.n, task]),
        (.., Some(key)) => one(tx, EXECUTION_BY_KEY, params![key]),
        (.., None) => Ok(None),
    }
}

/// The kind and the definition that a name means now.
fn resolve(tx: &Tx, new: &NewExecution) -> Result<(Kind, i64, DefinitionDigest), Refusal> {
    let mut found = Vec::new();
    for kind in [Kind::Agent, Kind::Workflow] {
        if new.kind.is_none_or(|wanted| wanted == kind) {
            let read = |row: &rusqlite::Row<'_>| Ok((kind, row.get(0)?, row.get::<_, String>(1)?.into()));
            found.extend(tx.first(RESOURCE_DEFINITION, params![kind.word(), new.name], read)?);
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Refusal::missing(format!(
            "{} `{}` not found",
            new.kind.map_or("agent or workflow", Kind::word),
            new.name
        ))
        .hint("`stigmer list` shows all agents and workflows; `stigmer apply -f FILE` creates them")),
        (Some(_), Some(_)) => {
            Err(Refusal::conflict(format!("`{}` is both an agent and a workflow", new.name))
                .hint("choose one with `--kind agent` or `--kind workflow`"))
        }
    }
}

/// The session of a new execution of an agent. A session continues only when its last execution has ended.
fn session(tx: &Tx, new: &NewExecution, id: &ExecutionId, created: i64) -> Result<SessionId, Refusal> {
    if new.message.as_deref().is_none_or(|message| message.trim().is_empty()) {
        return Err(
            Refusal::bad(format!("the agent `{}` needs a message", new.name)).hint("give one with --message")
        );
    }
    let Some(session) = &new.session else {
        tx.execute(SESSION_INSERT, params![id.as_str(), new.name, created])?;
        return Ok(id.clone().into());
    };
    let agent: Option<String> = tx.first(SESSION_AGENT, [session.as_str()], |row| row.get(0))?;
    match agent {
        None => return Err(Refusal::missing(format!("session `{session}` not found"))),
        Some(agent) if agent != new.name => {
            return Err(Refusal::conflict(format!("session `{session}` belongs to the agent `{agent}`")));
        }
        Some(_) => {}
    }
    let newest: Option<(String, Option<i64>)> =
        tx.first(SESSION_NEWEST, [session.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match newest {
        Some((open, None)) => {
            Err(Refusal::conflict(format!("session `{session}` is busy with execution {open}"))
                .hint("wait for its answer, cancel it, or begin another session"))
        }
        _ => Ok(session.clone()),
    }
}

/// Resumes an interrupted execution of an agent: a new one, in the same session, with the same message.
///
/// # Errors
/// It was not interrupted.
pub fn resume(tx: &Tx, id: &ExecutionId) -> Result<(Execution, bool), Refusal> {
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
            // A second request finds the first one's execution.
            key: Some(format!("resume:{id}")),
            parent: None,
            resumes: Some(id.clone()),
            engine: EngineName::default(),
        },
    )
}
