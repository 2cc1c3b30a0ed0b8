//! Calls on executions.

use super::{ApiError, Call, Client};
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::Execution;
use stigmer_protocol::api::events::{EventPage, EventQuery};
use stigmer_protocol::api::executions::{
    CreateExecution, ExecutionList, ExecutionQuery, PruneRequest, PruneResult,
};
use stigmer_protocol::api::workers::Empty;
use ureq::http::Method;

/// Calls on executions. Every one fails if the server is not running or answers with an error.
#[derive(Debug)]
pub struct Executions<'a>(pub(super) &'a mut Client);

impl Executions<'_> {
    /// Lists executions, the newest first.
    pub fn list(self, query: &ExecutionQuery) -> Result<Vec<Execution>, ApiError> {
        let list: ExecutionList = self.0.call(&Call::new(Method::GET, &["executions"]).query(query))?;
        Ok(list.executions)
    }

    /// Returns one execution.
    pub fn get(self, id: &ExecutionId) -> Result<Execution, ApiError> {
        self.0.call(&Call::new(Method::GET, &["executions", id]))
    }

    /// Starts an execution. The request is repeated after a lost connection, so it needs a key.
    pub fn create(self, request: &CreateExecution) -> Result<Execution, ApiError> {
        self.0.call(&Call::new(Method::POST, &["executions"]).body(request)?)
    }

    /// Cancels an execution and its child executions.
    pub fn cancel(self, id: &ExecutionId) -> Result<Execution, ApiError> {
        self.0.call(&Call::new(Method::POST, &["executions", id, "cancel"]).body(&Empty {})?)
    }

    /// Retries an interrupted execution of an agent in its session.
    pub fn resume(self, id: &ExecutionId) -> Result<Execution, ApiError> {
        self.0.call(&Call::new(Method::POST, &["executions", id, "resume"]).body(&Empty {})?)
    }

    /// Deletes an execution that has ended, and its child executions.
    pub fn delete(self, id: &ExecutionId) -> Result<(), ApiError> {
        self.0.call(&Call::new(Method::DELETE, &["executions", id]))
    }

    /// Deletes executions that have ended, or counts them. While the answer says that there are more, the request is to be repeated.
    pub fn prune(self, request: &PruneRequest) -> Result<PruneResult, ApiError> {
        self.0.call(&Call::new(Method::POST, &["executions", "prune"]).body(request)?)
    }

    /// Returns a page of an execution's journal.
    pub fn events(self, id: &ExecutionId, query: &EventQuery) -> Result<EventPage, ApiError> {
        self.0.call(&Call::new(Method::GET, &["executions", id, "events"]).query(query))
    }
}
