//! Workflows in the Serverless Workflow language (CNCF, DSL 1.0): what they may say, and how it is carried out.

use crate::resource::Problem;
use serde_json::Value;

/// Checks a workflow's spec.
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub fn check(spec: &Value) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    if !spec["document"].is_object() {
        problems.push(Problem::new("/spec/document", "a workflow says what it is in `document`"));
    }
    if !spec["do"].is_array() {
        problems.push(Problem::new("/spec/do", "a workflow lists its tasks in `do`"));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
