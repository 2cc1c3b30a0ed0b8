//! Reading journals and what they come to.

use super::{
    Event, Execution, ExecutionId, JournalEvent, Kind, LeaseId, Phase, RawEvent, SessionId, WorkerId,
};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::store::statements::{
    EVENTS, EVENTS_AFTER, EXECUTION, EXECUTION_BY_N, IS_LEASABLE, LEASES, PAGE, PAGE_CURSOR, PAGE_OF_KIND,
    PAGE_OF_NAME, PROGRESS, SESSION_HISTORY, Statement,
};
use rusqlite::{Params, Row, params};
use stigmer_protocol::Json;
use stigmer_protocol::api::events::{Completed, Created, Failed};
use stigmer_protocol::api::executions::Usage;
use stigmer_protocol::api::leases::{HistoryMessage, Role};
use stigmer_protocol::time::format_ms;

/// The columns of the statements that give whole executions.
struct Columns {
    id: ExecutionId,
    phase: String,
    attempt: u32,
    cancel_requested: bool,
    tokens: (Option<u64>, Option<u64>),
    created: i64,
    started: Option<i64>,
    ended: Option<i64>,
    last_seq: u64,
    wake_at: Option<i64>,
    wakes_on_children: bool,
    begun: String,
    done: Option<String>,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        id: row.get::<_, String>(0)?.into(),
        phase: row.get(1)?,
        attempt: row.get(2)?,
        cancel_requested: row.get(3)?,
        tokens: (row.get(4)?, row.get(5)?),
        created: row.get(6)?,
        started: row.get(7)?,
        ended: row.get(8)?,
        last_seq: row.get(9)?,
        wake_at: row.get(10)?,
        wakes_on_children: row.get(11)?,
        begun: row.get(12)?,
        done: row.get(13)?,
    })
}

impl Columns {
    fn decode(self) -> Result<Execution, Refusal> {
        let damaged = |what: &str, error: serde_json::Error| {
            Refusal::internal(format!("the {what} event of execution {} is damaged: {error}", self.id))
        };
        let created: Created = serde_json::from_str(&self.begun).map_err(|error| damaged("first", error))?;
        let (time, event) = (format_ms(self.created), Event::Created(created));
        let begun = JournalEvent { seq: 1, time, task: None, event };
        let mut execution = Execution::begin(&self.id, &begun)
            .ok_or_else(|| Refusal::internal(format!("execution {} has not begun", self.id)))?;
        execution.phase = self.phase.parse().map_err(Refusal::internal)?;
        execution.attempt = self.attempt;
        execution.cancel_requested = self.cancel_requested;
        execution.started = self.started.map(format_ms);
        execution.ended = self.ended.map(format_ms);
        execution.last_seq = self.last_seq;
        execution.waiting_until = self.wake_at.map(format_ms);
        execution.waiting_on_children = self.wakes_on_children;
        if let (Some(input_tokens), Some(output_tokens)) = self.tokens {
            execution.usage = Some(Usage { input_tokens, output_tokens });
        }
        if let Some(done) = &self.done {
            let done = match execution.phase {
                Phase::Completed => {
                    serde_json::from_str(done).map(|Completed { output }| execution.output = Some(output))
                }
                Phase::Failed => {
                    serde_json::from_str(done).map(|Failed { error }| execution.error = Some(error))
                }
                _ => Ok(()),
            };
            done.map_err(|error| damaged("last", error))?;
        }
        Ok(execution)
    }
}

/// The execution that a statement finds.
pub(super) fn one(tx: &Tx, statement: Statement, with: impl Params) -> Result<Option<Execution>, Refusal> {
    tx.first(statement, with, columns)?.map(Columns::decode).transpose()
}

/// The execution `id`.
///
/// # Errors
/// There is none.
pub fn find(tx: &Tx, id: &ExecutionId) -> Result<Execution, Refusal> {
    one(tx, EXECUTION, [id.as_str()])?.ok_or_else(|| missing(id))
}

/// The execution with the key `n`, which is known to exist.
pub(super) fn find_n(tx: &Tx, n: i64) -> Result<Execution, Refusal> {
    one(tx, EXECUTION_BY_N, [n])?.ok_or_else(|| Refusal::internal("an execution has disappeared"))
}

/// The phase of an execution, and the place of its last event: cheap, because nothing long is read.
///
/// # Errors
/// There is none.
pub fn progress(tx: &Tx, id: &ExecutionId) -> Result<(Phase, u64), Refusal> {
    let found: Option<(String, u64)> =
        tx.first(PROGRESS, [id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (phase, last_seq) = found.ok_or_else(|| missing(id))?;
    Ok((phase.parse().map_err(Refusal::internal)?, last_seq))
}

pub(super) fn missing(id: &ExecutionId) -> Refusal {
    Refusal::missing(format!("execution `{id}` not found"))
}

/// Which executions are wanted: those that match everything that is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which<'a> {
    /// The kind.
    pub kind: Option<Kind>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The name of the agent or workflow.
    pub name: Option<&'a str>,
    /// Only executions that began before the one with this id.
    pub before: Option<&'a str>,
}

/// The newest executions of those that are wanted.
///
/// Each combination of kind and phase is a range of an index, and the newest of all ranges are the page: its cost is that of what it
/// holds, whatever the other executions are.
pub fn list(tx: &Tx, which: Which<'_>, limit: u32) -> Result<Vec<Execution>, Refusal> {
    let Which { kind, phase, name, before } = which;
    let before: i64 = match before {
        Some(id) => tx.first(PAGE_CURSOR, [id], |row| row.get(0))?.unwrap_or(i64::MAX),
        None => i64::MAX,
    };
    let key = |row: &Row<'_>| row.get::<_, i64>(0);
    let mut page = if (kind, phase, name) == (None, None, None) {
        tx.all(PAGE, params![before, limit], key)?
    } else {
        let kinds = kind.as_ref().map_or(&Kind::ALL[..], std::slice::from_ref);
        let phases = phase.as_ref().map_or(&Phase::ALL[..], std::slice::from_ref);
        let mut page = Vec::new();
        for (kind, phase) in kinds.iter().flat_map(|kind| phases.iter().map(move |phase| (kind, phase))) {
            page.extend(match name {
                Some(name) => {
                    tx.all(PAGE_OF_NAME, params![name, kind.word(), phase.word(), before, limit], key)?
                }
                None => tx.all(PAGE_OF_KIND, params![kind.word(), phase.word(), before, limit], key)?,
            });
        }
        page
    };
    page.sort_unstable_by(|a, b| b.cmp(a));
    page.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    page.into_iter().map(|n| find_n(tx, n)).collect()
}

/// An event without its data, and the text of its data.
fn stored(row: &Row<'_>) -> rusqlite::Result<(RawEvent, String)> {
    let (time, data) = (format_ms(row.get(1)?), Json::default());
    Ok((RawEvent { seq: row.get(0)?, time, kind: row.get(2)?, task: row.get(3)?, data }, row.get(4)?))
}

fn whole((event, data): (RawEvent, String)) -> Result<RawEvent, Refusal> {
    Ok(RawEvent { data: Json::from_text(data)?, ..event })
}

/// The events of an execution behind the place `after`, at most `limit` of them.
pub fn events_after(tx: &Tx, id: &ExecutionId, after: u64, limit: u32) -> Result<Vec<RawEvent>, Refusal> {
    let rows = tx.all(EVENTS_AFTER, params![id.as_str(), after, limit], stored)?;
    rows.into_iter().map(whole).collect()
}

/// All events of the execution with the key `n`, and how many bytes their data have.
pub(super) fn events(tx: &Tx, n: i64) -> Result<(Vec<RawEvent>, usize), Refusal> {
    let rows = tx.all(EVENTS, [n], stored)?;
    let bytes = rows.iter().map(|(_, data)| data.len()).sum();
    Ok((rows.into_iter().map(whole).collect::<Result<_, _>>()?, bytes))
}

/// Whether there is an execution of one of `kinds` that a worker can take.
pub fn is_there_work(tx: &Tx, kinds: &[Kind]) -> Result<bool, Refusal> {
    for kind in kinds {
        if tx.first(IS_LEASABLE, [kind.word()], |_| Ok(()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How much of a session's history a worker gets, in bytes of text, so that a conversation of years fits into a response.
const MAX_HISTORY_BYTES: usize = 1024 * 1024;

/// What was said in a session before the execution with the key `n`, oldest first: the newest exchanges that fit into
/// [`MAX_HISTORY_BYTES`].
pub(super) fn history(tx: &Tx, session: &SessionId, n: i64) -> Result<Vec<HistoryMessage>, Refusal> {
    let mut statement = tx.prepare(SESSION_HISTORY)?;
    let mut rows = statement.query(params![session.as_str(), n])?;
    let mut exchanges = Vec::new();
    let mut room = MAX_HISTORY_BYTES;
    while let Some(row) = rows.next()? {
        let begun: Created = serde_json::from_str(&row.get::<_, String>(0)?)?;
        let done: Completed = serde_json::from_str(&row.get::<_, String>(1)?)?;
        let answer = done.output.get("text").and_then(|text| text.as_str()).map(str::to_owned);
        let length = begun.message.as_ref().map_or(0, String::len) + answer.as_ref().map_or(0, String::len);
        let Some(left) = room.checked_sub(length) else { break };
        room = left;
        exchanges.push([
            HistoryMessage { role: Role::User, text: begun.message },
            HistoryMessage { role: Role::Assistant, text: answer },
        ]);
    }
    Ok(exchanges.into_iter().rev().flatten().collect())
}

/// A lease as the database has it.
#[derive(Debug)]
pub(in crate::services::server) struct Standing {
    /// The lease.
    pub(in crate::services::server) lease: LeaseId,
    /// The worker that holds it.
    pub(in crate::services::server) worker: WorkerId,
    /// The execution.
    pub(in crate::services::server) execution: ExecutionId,
    /// Whether the execution is to be cancelled.
    pub(in crate::services::server) cancel: bool,
    /// The last event of this lease that arrived.
    pub(in crate::services::server) last_n: u64,
}

/// The leases that stood when the server ended.
pub(in crate::services::server) fn standing(tx: &Tx) -> Result<Vec<Standing>, Refusal> {
    let read = |row: &Row<'_>| {
        Ok(Standing {
            lease: row.get::<_, String>(0)?.into(),
            worker: row.get::<_, String>(1)?.into(),
            execution: row.get::<_, String>(2)?.into(),
            last_n: row.get(3)?,
            cancel: row.get(4)?,
        })
    };
    Ok(tx.all(LEASES, [], read)?)
}
