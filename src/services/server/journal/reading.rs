//! Reading journals and what they come to.

use super::{Execution, ExecutionId, Kind, LeaseId, Phase, RawEvent, SessionId, WorkerId};
use crate::services::server::refusal::Refusal;
use rusqlite::types::Value as Column;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use stigmer_protocol::Json;
use stigmer_protocol::api::leases::{HistoryMessage, Role};

/// To be followed by a condition, and read with [`one`].
pub(super) const SELECT: &str = "SELECT state, input, output FROM execution";

fn from_row(row: &Row<'_>) -> rusqlite::Result<(String, String, Option<String>)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn decode((state, input, output): (String, String, Option<String>)) -> Result<Execution, Refusal> {
    let mut execution: Execution = serde_json::from_str(&state)?;
    execution.input = serde_json::from_str(&input)?;
    execution.output = output.map(|output| serde_json::from_str(&output)).transpose()?;
    Ok(execution)
}

/// The execution that a query that begins with [`SELECT`] finds.
pub(super) fn one(
    tx: &Connection,
    sql: &str,
    with: impl rusqlite::Params,
) -> Result<Option<Execution>, Refusal> {
    tx.prepare_cached(sql)?.query_row(with, from_row).optional()?.map(decode).transpose()
}

/// The execution `id`.
///
/// # Errors
/// There is none.
pub fn find(tx: &Connection, id: &ExecutionId) -> Result<Execution, Refusal> {
    one(tx, &format!("{SELECT} WHERE id = ?1"), [id.as_str()])?.ok_or_else(|| missing(id))
}

/// How far an execution is, and the place of its last event: what can be asked often, because nothing long is read.
///
/// # Errors
/// There is none.
pub fn progress(tx: &Connection, id: &ExecutionId) -> Result<(Phase, u64), Refusal> {
    let sql = "SELECT phase, json_extract(state, '$.last_seq') FROM execution WHERE id = ?1";
    let found: Option<(String, u64)> =
        tx.prepare_cached(sql)?.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (phase, last_seq) = found.ok_or_else(|| missing(id))?;
    Ok((phase.parse().map_err(Refusal::internal)?, last_seq))
}

fn missing(id: &ExecutionId) -> Refusal {
    Refusal::missing(format!("execution `{id}` not found"))
}

/// Which executions are wanted: those of which all is true that is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which<'a> {
    /// They are of this kind.
    pub kind: Option<&'a str>,
    /// They are in this phase.
    pub phase: Option<&'a str>,
    /// They have this name.
    pub name: Option<&'a str>,
    /// They are older than this id.
    pub before: Option<&'a str>,
}

/// The newest executions of those that are wanted.
pub fn list(tx: &Connection, which: Which<'_>, limit: u32) -> Result<Vec<Execution>, Refusal> {
    let Which { kind, phase, name, before } = which;
    let mut sql = format!("{SELECT} WHERE 1");
    let mut with: Vec<Column> = Vec::new();
    for (condition, value) in
        [(" AND kind = ?", kind), (" AND phase = ?", phase), (" AND name = ?", name), (" AND id < ?", before)]
    {
        if let Some(value) = value {
            sql.push_str(condition);
            with.push(value.to_owned().into());
        }
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    with.push(i64::from(limit).into());
    let mut statement = tx.prepare_cached(&sql)?;
    let rows: Vec<_> = statement.query_map(params_from_iter(with), from_row)?.collect::<Result<_, _>>()?;
    rows.into_iter().map(decode).collect()
}

/// The events of an execution behind the place `after`, at most `limit` of them.
pub fn events_after(
    tx: &Connection,
    id: &ExecutionId,
    after: u64,
    limit: u32,
) -> Result<Vec<RawEvent>, Refusal> {
    let mut statement = tx.prepare_cached(
        "SELECT seq, time, type, task, data FROM event WHERE execution = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let rows = statement.query_map(params![id.as_str(), after, limit], |row| {
        let data: String = row.get(4)?;
        Ok((
            RawEvent {
                seq: row.get(0)?,
                time: row.get(1)?,
                kind: row.get(2)?,
                task: row.get(3)?,
                data: Json::default(),
            },
            data,
        ))
    })?;
    rows.map(|row| {
        let (event, data) = row?;
        Ok(RawEvent { data: Json::from_text(data)?, ..event })
    })
    .collect()
}

/// Whether there is an execution of one of `kinds` that nobody holds.
pub fn is_there_work(tx: &Connection, kinds: &[Kind]) -> Result<bool, Refusal> {
    let mut statement = tx.prepare_cached(
        "SELECT 1 FROM execution WHERE kind = ?1 AND phase IN ('PENDING', 'IN_PROGRESS') AND lease IS NULL LIMIT 1",
    )?;
    for kind in kinds {
        if statement.exists([kind.word()])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A worker is told so much of a session, in bytes of text: a conversation of years must fit into an answer.
const MAX_HISTORY: usize = 1024 * 1024;

/// What was said in a session before the execution `id`, oldest first: the newest exchanges that fit into [`MAX_HISTORY`].
pub(super) fn history(
    tx: &Connection,
    session: &SessionId,
    id: &ExecutionId,
) -> Result<Vec<HistoryMessage>, Refusal> {
    let sql = format!("{SELECT} WHERE session = ?1 AND id < ?2 AND phase = 'COMPLETED' ORDER BY id DESC");
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([session.as_str(), id.as_str()])?;
    let mut exchanges = Vec::new();
    let mut room = MAX_HISTORY;
    while let Some(row) = rows.next()? {
        let past = decode(from_row(row)?)?;
        let answer = past.output.and_then(|output| output.get("text")?.as_str().map(str::to_owned));
        let long = past.message.as_ref().map_or(0, String::len) + answer.as_ref().map_or(0, String::len);
        let Some(left) = room.checked_sub(long) else { break };
        room = left;
        exchanges.push([
            HistoryMessage { role: Role::User, text: past.message },
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
    /// Who holds it.
    pub(in crate::services::server) worker: WorkerId,
    /// What it is about.
    pub(in crate::services::server) execution: ExecutionId,
    /// Whether that is called off.
    pub(in crate::services::server) cancel: bool,
    /// The last event of this lease that arrived.
    pub(in crate::services::server) last_n: u64,
}

/// The leases that stood when the server ended.
pub(in crate::services::server) fn standing(tx: &Connection) -> Result<Vec<Standing>, Refusal> {
    let mut statement = tx.prepare(
        "SELECT lease, lease_worker, id, lease_n, json_extract(state, '$.cancel_requested')
         FROM execution WHERE lease IS NOT NULL",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Standing {
            lease: row.get::<_, String>(0)?.into(),
            worker: row.get::<_, String>(1)?.into(),
            execution: row.get::<_, String>(2)?.into(),
            last_n: row.get(3)?,
            cancel: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
