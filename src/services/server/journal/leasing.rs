//! Leases: an execution goes to a worker, the worker reports, and gives it back.

use super::ending::end;
use super::reading::{events, find_n, history};
use super::report::Reported;
use super::row::Row;
use super::{Event, Execution, ExecutionId, Kind, LeaseId, Leased, Outcome, Report, WorkerId, new_id};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::store::statements::{
    DEFINITION_SPEC, LEASABLE, LEASE_GRANT, NEXT_WAKE, SUSPEND, WAKE,
};
use rusqlite::params;
use stigmer_protocol::api::events::{self as data, Completed, Failed, Started};
use stigmer_protocol::api::workers::Empty;
use stigmer_protocol::time::now_ms;

/// Executions whose journals have this many bytes together are enough for one response.
const MAX_LEASED_BYTES: usize = 1024 * 1024;

/// How many due executions become leasable in one transaction.
const WAKE_BATCH: u32 = 500;

/// Gives up to `max` executions of `kinds` to `worker`: those that could be taken for the longest time.
pub fn lease(
    tx: &Tx,
    worker: &WorkerId,
    kinds: &[Kind],
    lease_ms: u64,
    max: u32,
) -> Result<Vec<Leased>, Refusal> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for kind in kinds {
        found.extend(tx.all(LEASABLE, params![kind.word(), max], |row| Ok((row.get(1)?, row.get(0)?)))?);
    }
    found.sort_unstable();
    found.dedup();
    let mut leased = Vec::new();
    let mut bytes = 0;
    for (_, n) in found.into_iter().take(usize::try_from(max).unwrap_or(usize::MAX)) {
        let (one, long) = grant(tx, n, worker, lease_ms)?;
        leased.push(one);
        bytes += long;
        if bytes >= MAX_LEASED_BYTES {
            break;
        }
    }
    Ok(leased)
}

fn grant(tx: &Tx, n: i64, worker: &WorkerId, lease_ms: u64) -> Result<(Leased, usize), Refusal> {
    let mut row = Row::by_n(tx, n)?;
    let lease = LeaseId::from(format!("l-{}", new_id()?));
    let (events, bytes) = events(tx, n)?;
    let attempt = row.attempt + 1;
    let started = row.append(tx, &Event::Started(Started { worker: worker.clone(), attempt }))?;
    tx.execute(LEASE_GRANT, params![n, row.attempt, started, row.last_seq, lease.as_str(), worker.as_str()])?;
    let spec: Option<String> = tx.first(DEFINITION_SPEC, [row.definition], |row| row.get(0))?;
    let spec = spec.ok_or_else(|| Refusal::internal("a definition has disappeared"))?;
    let history = match &row.session {
        Some(session) => history(tx, session, n)?,
        None => Vec::new(),
    };
    let execution = find_n(tx, n)?;
    let bytes = bytes + spec.len();
    Ok((
        Leased { lease, lease_ms, definition: serde_json::from_str(&spec)?, execution, events, history },
        bytes,
    ))
}

/// The execution that `lease` holds.
///
/// # Errors
/// The lease does not hold any more.
pub(in crate::services::server) fn holder(tx: &Tx, lease: &LeaseId) -> Result<ExecutionId, Refusal> {
    Row::held(tx, lease).map(|row| row.id)
}

/// The result of a [`report`].
#[derive(Debug)]
pub struct Received {
    /// The id of the execution.
    pub id: ExecutionId,
    /// The last event of this lease that is recorded.
    pub last_n: u64,
    /// The execution, if the report was of its end.
    pub ended: Option<Execution>,
    /// The executions that were cancelled with it.
    pub cancelled: Vec<ExecutionId>,
}

/// Records events that the worker of a lease reports, and the end of the execution if the report has one.
///
/// # Errors
/// The lease does not hold any more, or events are missing.
pub fn report(tx: &Tx, lease: &LeaseId, report: Report) -> Result<Received, Refusal> {
    let mut row = Row::held(tx, lease)?;
    record(tx, &mut row, report.events)?;
    let event = match report.outcome {
        None => {
            row.save_progress(tx)?;
            return Ok(Received { id: row.id, last_n: row.lease_n, ended: None, cancelled: Vec::new() });
        }
        Some(Outcome::Completed(output)) => Event::Completed(Completed { output }),
        Some(Outcome::Failed(error)) => Event::Failed(Failed { error }),
        Some(Outcome::Cancelled) => Event::Cancelled(Empty {}),
    };
    let cancelled = end(tx, &mut row, &event)?;
    Ok(Received { ended: Some(find_n(tx, row.n)?), id: row.id, last_n: row.lease_n, cancelled })
}

fn record(tx: &Tx, row: &mut Row, events: Vec<Reported>) -> Result<(), Refusal> {
    for Reported { n, task, data, event } in events {
        if n <= row.lease_n {
            continue;
        }
        if n != row.lease_n + 1 {
            let words = format!("event {} is missing: send again from there", row.lease_n + 1);
            return Err(Refusal::conflict(words));
        }
        row.lease_n = n;
        row.append_data(tx, &event, task.as_deref(), &data)?;
    }
    Ok(())
}

/// The result of [`suspend`].
#[derive(Debug)]
pub struct Suspended {
    /// The id of the execution.
    pub id: ExecutionId,
    /// Whether it can be leased at once: what it waits for has happened already.
    pub is_ready: bool,
    /// The executions that were cancelled because its cancellation was requested meanwhile.
    pub cancelled: Vec<ExecutionId>,
}

/// What a suspended execution waits for; with neither, it is leasable at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Until {
    /// The wall-clock time to wake at, in milliseconds since the Unix epoch.
    pub wake_at_ms: Option<u64>,
    /// Whether the end of a child execution wakes it.
    pub on_children: bool,
}

/// Records the events of a report, and gives the lease back until something happens that the execution waits for.
///
/// A child that ended since the lease was granted, a time that has come, and a cancellation that was requested count as having
/// happened after the suspension. The report has no outcome: it would be ignored.
///
/// # Errors
/// The lease does not hold any more, or events are missing.
pub fn suspend(tx: &Tx, lease: &LeaseId, report: Report, until: Until) -> Result<Suspended, Refusal> {
    let mut row = Row::held(tx, lease)?;
    record(tx, &mut row, report.events)?;
    let wake_at = until.wake_at_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX).max(1));
    let suspended = data::Suspended { wake_at_ms: wake_at, on_children: until.on_children };
    let now = row.append(tx, &Event::Suspended(suspended))?;
    let waits_for_nothing = wake_at.is_none() && !until.on_children;
    let has_happened = wake_at.is_some_and(|time| time <= now)
        || (until.on_children && row.child_ended)
        || waits_for_nothing;
    tx.execute(
        SUSPEND,
        params![
            row.n,
            row.last_seq,
            row.input_tokens,
            row.output_tokens,
            wake_at,
            until.on_children,
            has_happened.then_some(now)
        ],
    )?;
    if row.cancel_requested {
        let cancelled = end(tx, &mut row, &Event::Cancelled(Empty {}))?;
        return Ok(Suspended { id: row.id, is_ready: false, cancelled });
    }
    Ok(Suspended { id: row.id, is_ready: has_happened, cancelled: Vec::new() })
}

/// The earliest time at which a suspended execution is to wake, in milliseconds since the Unix epoch.
pub fn next_wake(tx: &Tx) -> Result<Option<i64>, Refusal> {
    Ok(tx.first(NEXT_WAKE, [], |row| row.get(0))?)
}

/// Makes suspended executions whose time has come leasable, at most a batch of them, and gives how many.
pub fn wake(tx: &Tx) -> Result<usize, Refusal> {
    Ok(tx.execute(WAKE, params![now_ms(), WAKE_BATCH])?)
}
