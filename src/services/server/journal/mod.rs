//! Executions and their journals.
//!
//! The journal is the truth: the events of an execution are only ever added to, and everything shown of it is their sum
//! ([`Execution::add`]). An execution changes only by an added event, in one transaction with its row, so the two cannot disagree. A
//! phase only moves on, and the last one is final.

mod create;
mod deletion;
mod ending;
mod leases;
mod leasing;
mod reading;
mod report;
mod row;

use super::refusal::Refusal;
use stigmer_protocol::id;

pub use create::{EngineName, NewExecution, create, resume};
pub use deletion::{Batch, Boundary, Place, boundary, delete, prune, removal_done, removals, shrink};
pub use ending::{cancel, expire};
pub use leases::Leases;
pub(super) use leasing::holder;
pub use leasing::{Received, Suspended, Until, lease, next_wake, report, suspend, wake};
pub(super) use reading::{Standing, standing};
pub use reading::{Which, events_after, find, is_there_work, list, progress};
pub use report::{Outcome, Report};
pub use stigmer_protocol::api::{Event, Execution, ExecutionError, JournalEvent, Leased, RawEvent};
pub use stigmer_protocol::{ExecutionId, Kind, LeaseId, Phase, SessionId, WorkerId};

/// The error type of an execution whose worker was lost.
pub const INTERRUPTED: &str = "interrupted";

/// An id for something new; ids sort by age.
fn new_id() -> Result<String, Refusal> {
    id::generate().map_err(|error| Refusal::internal(format!("no randomness for an id: {error}")))
}

#[cfg(test)]
mod tests;
