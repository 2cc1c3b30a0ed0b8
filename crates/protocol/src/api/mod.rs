//! The HTTP API of stigmer-server: a request and a response type for each route, one file for each area.

mod event_data;
pub mod events;
pub mod executions;
pub mod leases;
pub mod problem;
pub mod resources;
pub mod status;
pub mod workers;

pub use events::{Event, JournalEvent, RawEvent};
pub use executions::{Execution, ExecutionError, Usage};
pub use leases::Leased;
pub use problem::{Problem, ProblemType};
pub use resources::{Metadata, Resource, StoredResource};
pub use status::{ServerStatus, WorkerState, WorkerStatus};
