//! Calls on resources.

use super::{ApiError, Call, Client};
use stigmer_protocol::Kind;
use stigmer_protocol::api::resources::{Applied, ResourceList, ResourceQuery};
use stigmer_protocol::api::{Resource, StoredResource};
use ureq::http::Method;

/// Calls on resources. Every one fails if the server is not running or answers with an error.
#[derive(Debug)]
pub struct Resources<'a>(pub(super) &'a mut Client);

impl Resources<'_> {
    /// Lists resources by kind and name.
    pub fn list(self, query: &ResourceQuery) -> Result<Vec<StoredResource>, ApiError> {
        let list: ResourceList = self.0.call(&Call::new(Method::GET, &["resources"]).query(query))?;
        Ok(list.resources)
    }

    /// Returns one resource.
    pub fn get(self, kind: Kind, name: &str) -> Result<StoredResource, ApiError> {
        self.0.call(&Call::new(Method::GET, &["resources", kind.plural(), name]))
    }

    /// Creates or updates a resource.
    pub fn put(self, resource: &Resource) -> Result<Applied, ApiError> {
        let path = ["resources", resource.kind.plural(), &resource.metadata.name];
        self.0.call(&Call::new(Method::PUT, &path).body(resource)?)
    }

    /// Deletes a resource. Running executions keep its definition.
    pub fn delete(self, kind: Kind, name: &str) -> Result<(), ApiError> {
        self.0.call(&Call::new(Method::DELETE, &["resources", kind.plural(), name]))
    }
}
