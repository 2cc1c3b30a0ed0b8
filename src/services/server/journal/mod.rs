//! Executions and their journals.
//!
//! The journal is the truth: what happened to an execution is a row of events that is only ever added to, and everything
//! shown of it is the sum of them ([`Execution::add`]). Nothing is done to an execution but by adding an event, in one
//! transaction with the sum, so the two cannot disagree. A phase only moves on, and the last one is final.

mod leases;
mod reading;
mod report;
mod writing;

pub use leases::Leases;
pub(super) use reading::{Standing, standing};
pub use reading::{Which, events_after, find, is_there_work, list, progress};
pub use report::{Outcome, Report};
pub use stigmer_protocol::api::{Event, Execution, ExecutionError, JournalEvent, Leased, RawEvent};
pub use stigmer_protocol::{ExecutionId, Kind, LeaseId, Phase, SessionId, WorkerId};
pub(super) use writing::holder;
pub use writing::{INTERRUPTED, NewExecution, cancel, create, expire, lease, report, resume};

#[cfg(test)]
mod tests;
