//! Checks of a whole resource: its envelope, and the definition that it holds.

use crate::problem::Problem;
use crate::resource::{API_VERSION, AgentSpec, Kind, Resource, check_name};

/// Checks everything in a resource that can be checked without running it.
///
/// # Errors
/// Every problem that was found, not only the first.
pub fn check(resource: &Resource) -> Result<(), Vec<Problem>> {
    let Resource { api_version, kind, metadata, spec } = resource;
    let mut problems = Vec::new();
    if api_version != API_VERSION {
        let message = format!("unsupported apiVersion `{api_version}`: expected `{API_VERSION}`");
        problems.push(Problem::new("/apiVersion", message));
    }
    if let Err(message) = check_name(&metadata.name) {
        problems.push(Problem::new("/metadata/name", message));
    }
    match kind {
        Kind::Agent => problems.extend(AgentSpec::read(spec).err().into_iter().flatten()),
        Kind::Workflow => problems.extend(crate::check(spec).err().into_iter().flatten()),
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Metadata;
    use serde_json::{Value, json};

    fn agent(spec: Value) -> Resource {
        let metadata = Metadata { name: "hello".to_owned() };
        Resource { api_version: API_VERSION.to_owned(), kind: Kind::Agent, metadata, spec }
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        let mut wrong = agent(json!({"instructions": 1, "tools": ["fly"]}));
        wrong.api_version = "v2".to_owned();
        wrong.metadata.name = "No".to_owned();
        let problems = check(&wrong).unwrap_err();
        let places: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(places[..2], ["/apiVersion", "/metadata/name"]);
        assert!(places.len() >= 3, "{problems:?}");
    }
}
