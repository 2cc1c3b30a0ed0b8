//! Ends of executions: by their workers, by cancellation, and by the loss of a worker.

use super::row::Row;
use super::{Event, ExecutionError, ExecutionId, INTERRUPTED, Kind, LeaseId, Phase};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::store::statements::{
    CHILD_ENDED, EVENTS_NEWEST, LEASE_RETURN, OPEN_CHILDREN, REQUEST_CANCEL,
};
use rusqlite::params;
use std::time::Duration;
use stigmer_protocol::api::events::{Failed, LeaseExpired};
use stigmer_protocol::api::workers::Empty;
use stigmer_protocol::time::now_ms;

/// A workflow that lost this many workers in a row, without any progress in between, fails.
const MAX_LOST_WORKERS: u32 = 5;

/// Workers lost further apart than this are not counted together.
const LOST_TOGETHER: Duration = Duration::from_secs(600);

/// Ends an execution with an event, cancels its children, and wakes its parent. Gives the ids of the children it reached.
pub(super) fn end(tx: &Tx, row: &mut Row, event: &Event) -> Result<Vec<ExecutionId>, Refusal> {
    let ended = row.append(tx, event)?;
    row.save_end(tx, ended)?;
    if let Some(parent) = row.parent {
        tx.execute(CHILD_ENDED, params![parent, ended])?;
    }
    cancel_children(tx, row.n)
}

/// Cancels an execution and its children, and gives the ids of all it reached. One that no worker holds ends at once, whether it is
/// new or suspended; a worker learns of it with its next heartbeat.
///
/// # Errors
/// It has ended already.
pub fn cancel(tx: &Tx, id: &ExecutionId) -> Result<Vec<ExecutionId>, Refusal> {
    let row = Row::find(tx, id)?;
    if row.phase.is_terminal() {
        return Err(Refusal::conflict(format!("execution {id} has already ended: {}", row.phase.word())));
    }
    cancel_open(tx, row)
}

fn cancel_open(tx: &Tx, mut row: Row) -> Result<Vec<ExecutionId>, Refusal> {
    if !row.cancel_requested {
        row.append(tx, &Event::CancelRequested(Empty {}))?;
        tx.execute(REQUEST_CANCEL, params![row.n, row.last_seq])?;
    }
    let mut reached = vec![row.id.clone()];
    reached.extend(if row.is_held {
        cancel_children(tx, row.n)?
    } else {
        end(tx, &mut row, &Event::Cancelled(Empty {}))?
    });
    Ok(reached)
}

fn cancel_children(tx: &Tx, n: i64) -> Result<Vec<ExecutionId>, Refusal> {
    let children: Vec<i64> = tx.all(OPEN_CHILDREN, [n], |row| row.get(0))?;
    let mut reached = Vec::new();
    for child in children {
        reached.extend(cancel_open(tx, Row::by_n(tx, child)?)?);
    }
    Ok(reached)
}

/// Takes an execution from a worker that stopped sending heartbeats. A workflow continues with another worker, from where its journal
/// ends; how far an agent came cannot be known, so it is repeated only if somebody asks for it ([`super::resume`]).
///
/// `is_given_back` if its worker said goodbye. Gives the executions that it reached, that one first.
pub fn expire(tx: &Tx, lease: &LeaseId, is_given_back: bool) -> Result<Vec<ExecutionId>, Refusal> {
    let Ok(mut row) = Row::held(tx, lease) else { return Ok(Vec::new()) };
    let mut reached = vec![row.id.clone()];
    let lost = LeaseExpired { lease: lease.clone(), given_back: is_given_back };
    row.append(tx, &Event::LeaseExpired(lost))?;
    let is_spent = lost_in_vain(tx, row.n)? >= MAX_LOST_WORKERS;
    if row.cancel_requested {
        reached.extend(end(tx, &mut row, &Event::Cancelled(Empty {}))?);
    } else if row.kind == Kind::Agent || is_spent {
        let (message, hint) = match row.kind {
            Kind::Agent => (
                "the worker was lost before the execution ended".to_owned(),
                Some(format!("`stigmer execution resume {}` tries it again", row.id)),
            ),
            Kind::Workflow => {
                (format!("{MAX_LOST_WORKERS} workers in a row were lost before the execution ended"), None)
            }
        };
        let error = ExecutionError { kind: INTERRUPTED.to_owned(), message, hint, task: None };
        reached.extend(end(tx, &mut row, &Event::Failed(Failed { error }))?);
    } else {
        tx.execute(LEASE_RETURN, params![row.n, row.last_seq, now_ms()])?;
    }
    debug_assert!(row.phase != Phase::Pending);
    Ok(reached)
}

/// How many workers were lost lately with an execution since anything happened in it. One that waits for days, suspended or not,
/// survives any number of restarts.
fn lost_in_vain(tx: &Tx, n: i64) -> Result<u32, Refusal> {
    let recent = now_ms() - i64::try_from(LOST_TOGETHER.as_millis()).unwrap_or(i64::MAX);
    let rows: Vec<(String, i64, String)> =
        tx.all(EVENTS_NEWEST, [n], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut lost = 0;
    for (kind, time, data) in rows {
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
