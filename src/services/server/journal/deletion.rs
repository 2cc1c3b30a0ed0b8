//! Deleting executions that have ended, with everything that belongs to them.
//!
//! A child is needed as long as its parent can be replayed, and every execution of a session as long as one of them runs: a worker
//! gets the history of the session, and an execution that resumes another is in the session of that one. So executions are deleted as
//! trees, and a tree is left alone while anything in it, above it or in one of its sessions has not ended.
//!
//! A transaction deletes a limited number of rows, because everybody else who writes waits for it. A large tree is deleted in several,
//! from the leaves to the root.

use super::row::Row;
use super::{ExecutionId, Kind, SessionId};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::store::statements::{
    CHILDREN, DEFINITION_FORGET, ENDED, ENDED_BEYOND, EVENTS_DELETE, EXECUTION_DELETE, REMOVAL_DONE,
    REMOVAL_INSERT, REMOVALS, SESSION_FORGET, SESSION_NEWEST, SHRINK,
};
use rusqlite::params;

/// Maximum number of executions that a transaction deletes.
const MAX_EXECUTIONS: u64 = 500;

/// Maximum number of events that a transaction deletes, unless a single execution has more.
const MAX_EVENTS: u64 = 20_000;

/// Number of executions that one step of [`prune`] looks at, not counting children.
const PAGE: usize = 500;

/// Position of an execution in the order of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    ended: i64,
    n: i64,
}

impl Place {
    /// Position before every execution.
    pub const START: Self = Self { ended: 0, n: 0 };

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { ended: row.get(0)?, n: row.get(1)? })
    }
}

/// Last position of what [`prune`] deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary(Place);

/// Returns the last position of what may be deleted: executions that ended at `until` or before, without the `keep` that ended last.
/// Children do not count. `None` if nothing is left.
pub fn boundary(tx: &Tx, until: i64, keep: u32) -> Result<Option<Boundary>, Refusal> {
    let by_time = Place { ended: until, n: i64::MAX };
    if keep == 0 {
        return Ok(Some(Boundary(by_time)));
    }
    let by_number = tx.first(ENDED_BEYOND, [keep], Place::read)?;
    Ok(by_number.map(|place| Boundary(place.min(by_time))))
}

/// What a step of [`prune`] has deleted, or would delete.
#[derive(Debug, Default)]
pub struct Batch {
    /// The executions, children included.
    pub executions: Vec<ExecutionId>,
    /// Number of events in their journals.
    pub events: u64,
    /// Position from which the next step continues; `None` at the end.
    pub next: Option<Place>,
}

impl Batch {
    fn has_room_for(&self, row: &Row) -> bool {
        let executions = u64::try_from(self.executions.len()).unwrap_or(u64::MAX);
        executions == 0 || (executions < MAX_EXECUTIONS && self.events + row.last_seq <= MAX_EVENTS)
    }

    fn add(&mut self, row: &Row) {
        self.executions.push(row.id.clone());
        self.events += row.last_seq;
    }
}

/// Deletes executions behind the position `after` up to the boundary, as many as belong in a transaction; those that are still needed are
/// skipped. With `is_dry_run` nothing is changed.
pub fn prune(tx: &Tx, after: Place, boundary: Boundary, is_dry_run: bool) -> Result<Batch, Refusal> {
    let mut batch = Batch::default();
    let page = tx.all(ENDED, params![after.ended, after.n, PAGE], Place::read)?;
    let is_last_page = page.len() < PAGE;
    let mut reached = after;
    for place in page {
        if place > boundary.0 {
            return Ok(batch);
        }
        // Whatever needs it, it is left alone.
        if let Ok(tree) = deletable(tx, Row::by_n(tx, place.n)?)? {
            for row in tree.iter().rev() {
                if is_dry_run {
                    batch.add(row);
                    continue;
                }
                if !batch.has_room_for(row) {
                    batch.next = Some(reached);
                    return Ok(batch);
                }
                remove(tx, row)?;
                batch.add(row);
            }
        }
        reached = place;
    }
    batch.next = (!is_last_page).then_some(reached);
    Ok(batch)
}

/// Deletes an execution and its children. Gives `false` if there is more to delete than belongs in a transaction: then the call is
/// repeated.
///
/// # Errors
/// It does not exist, has not ended, or is still needed.
pub fn delete(tx: &Tx, id: &ExecutionId) -> Result<bool, Refusal> {
    let row = Row::find(tx, id)?;
    let mut above = row.parent;
    while let Some(n) = above {
        let parent = Row::by_n(tx, n)?;
        if !parent.phase.is_terminal() {
            return Err(Refusal::conflict(format!(
                "execution {id} belongs to execution {}, which has not ended",
                parent.id
            ))
            .hint(format!("`stigmer execution cancel {}` ends it", parent.id)));
        }
        above = parent.parent;
    }
    let tree = deletable(tx, row)?.map_err(|obstacle| obstacle.refusal(id))?;
    let mut batch = Batch::default();
    for row in tree.iter().rev() {
        if !batch.has_room_for(row) {
            return Ok(false);
        }
        remove(tx, row)?;
        batch.add(row);
    }
    Ok(true)
}

/// Reason why an execution cannot be deleted.
#[derive(Debug)]
enum Obstacle {
    /// It or one of its children has not ended.
    IsOpen(ExecutionId),
    /// An execution of its session has not ended.
    SessionInUse(SessionId, ExecutionId),
}

impl Obstacle {
    fn refusal(self, id: &ExecutionId) -> Refusal {
        let (words, open) = match self {
            Self::IsOpen(open) if open == *id => (format!("execution {id} has not ended"), open),
            Self::IsOpen(open) => {
                (format!("execution {id} has a child execution that has not ended: {open}"), open)
            }
            Self::SessionInUse(session, open) => (
                format!("execution {id} is history of session `{session}`, in use by execution {open}"),
                open,
            ),
        };
        Refusal::conflict(words).hint(format!("wait for its end, or `stigmer execution cancel {open}`"))
    }
}

/// An execution and everything below it, parents before their children; or what keeps it from being deleted.
fn deletable(tx: &Tx, root: Row) -> Result<Result<Vec<Row>, Obstacle>, Refusal> {
    let mut tree = vec![root];
    let mut seen = 0;
    while let Some(row) = tree.get(seen) {
        if !row.phase.is_terminal() {
            return Ok(Err(Obstacle::IsOpen(row.id.clone())));
        }
        if let Some(session) = &row.session {
            // A session has one open execution at most, the newest.
            let newest: Option<(String, Option<i64>)> =
                tx.first(SESSION_NEWEST, [session.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if let Some((open, None)) = newest {
                return Ok(Err(Obstacle::SessionInUse(session.clone(), open.into())));
            }
        }
        let children: Vec<i64> = tx.all(CHILDREN, [row.n], |row| row.get(0))?;
        for child in children {
            tree.push(Row::by_n(tx, child)?);
        }
        seen += 1;
    }
    Ok(Ok(tree))
}

/// Deletes an execution without children, and what only it referred to. Its workspace is noted to be removed.
fn remove(tx: &Tx, row: &Row) -> Result<(), Refusal> {
    tx.execute(EVENTS_DELETE, [row.n])?;
    tx.execute(EXECUTION_DELETE, [row.n])?;
    tx.execute(DEFINITION_FORGET, [row.definition])?;
    if let Some(session) = &row.session {
        tx.execute(SESSION_FORGET, [session.as_str()])?;
    }
    if row.kind == Kind::Agent {
        tx.execute(REMOVAL_INSERT, [row.id.as_str()])?;
    }
    Ok(())
}

/// Deleted executions whose workspaces are to be removed, up to `limit` of them, in the order of ids from behind `after`.
pub fn removals(tx: &Tx, after: &str, limit: u32) -> Result<Vec<ExecutionId>, Refusal> {
    Ok(tx.all(REMOVALS, params![after, limit], |row| row.get::<_, String>(0).map(Into::into))?)
}

/// Notes that the workspaces of these executions are removed.
pub fn removal_done(tx: &Tx, ids: &[ExecutionId]) -> Result<(), Refusal> {
    for id in ids {
        tx.execute(REMOVAL_DONE, [id.as_str()])?;
    }
    Ok(())
}

/// Gives space in the database file that nothing uses back to the system, a limited amount. Gives `false` if there was none.
pub fn shrink(tx: &Tx) -> Result<bool, Refusal> {
    Ok(!tx.all(SHRINK, [], |_| Ok(()))?.is_empty())
}
