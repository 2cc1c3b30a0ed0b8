//! Workflows in the Serverless Workflow language (CNCF, DSL 1.0): what they may say, and how it is carried out.
//!
//! The model is our own. The crate of the language's authors, `serverless_workflow_core`, reads every document into everything the
//! language has, drops keys it does not know, knows no places, and has stood still as an alpha since January 2025; what matters
//! here is the opposite: that nothing is read that is not carried out, and that a mistake is named with its place.
#![forbid(unsafe_code)]

mod definition;
mod duration;
pub mod engine;
mod expr;
pub mod fault;
pub mod interpreter;
pub mod journaled;
pub mod model;
mod pointer;
mod problem;
mod read;
pub mod resource;
pub mod source;
mod template;

use model::Workflow;
use problem::Problem;
use serde_json::Value;

/// Checks a workflow's spec.
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub fn check(spec: &Value) -> Result<(), Vec<Problem>> {
    read(spec).map(drop)
}

/// Reads a workflow's spec.
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub fn read(spec: &Value) -> Result<Workflow, Vec<Problem>> {
    let spec = spec.clone();
    let outcome = expr::on_deep_stack(move || read::read(&spec));
    outcome.unwrap_or_else(|error| Err(vec![Problem::new("/spec", format!("it cannot be read: {error}"))]))
}
