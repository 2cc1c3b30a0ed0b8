//! What people write down and apply: agents and workflows, read strictly and named by what they say.
//!
//! One reading for everybody: the command line says what is wrong with a file before anything is sent, the server does not
//! believe it, and a runner gets what both have understood. A definition is a resource's spec as it was when it was applied; its
//! digest is its identity, so an execution keeps the one it began with, whatever is applied later.

mod agent;

pub use crate::definition::check;
pub use crate::problem::Problem;
pub use agent::{AgentSpec, Limits, Tool};
pub use stigmer_protocol::api::resources::{API_VERSION, Metadata, Resource};
pub use stigmer_protocol::model::{Model, Provider};
pub use stigmer_protocol::{Kind, MAX_NAME, check_name};
