//! The contract between the processes of stigmer: everything that crosses from one to another, defined once.
#![forbid(unsafe_code)]

pub mod api;
pub mod component;
pub mod environment;
pub mod id;
mod ids;
mod json;
mod kind;
pub mod line;
pub mod model;
mod name;
pub mod redact;
pub mod report;
pub mod time;
pub mod token;

pub use ids::{DefinitionDigest, ExecutionId, InstanceId, LeaseId, SessionId, WorkerId};
pub use json::Json;
pub use kind::{Kind, KindPlural, Phase};
pub use name::{MAX_NAME, check_name, is_variable};
