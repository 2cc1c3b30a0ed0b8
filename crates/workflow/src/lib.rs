//! Workflows of the Open Workflow Specification 1.0 (the former Serverless Workflow DSL): reading, model, expressions and interpreter.
//!
//! The model is our own. The crate of the language's authors, `serverless_workflow_core`, accepts every document of the language, drops
//! unknown keys, keeps no places, and has stood still as an alpha since January 2025. Here a document is accepted only if all of it can be
//! executed, and every mistake is reported with its place.
#![forbid(unsafe_code)]

mod definition;
mod duration;
pub mod effect;
pub mod engine;
pub mod evaluation;
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

pub use model::Workflow;
use problem::Problem;
use serde_json::Value;

/// Checks a workflow's spec.
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub fn check(spec: &Value) -> Result<(), Vec<Problem>> {
    read(spec).map(drop)
}

/// Reads a workflow's spec on a thread of its own.
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub fn read(spec: &Value) -> Result<Workflow, Vec<Problem>> {
    let spec = spec.clone();
    let outcome = expr::on_deep_stack(move || read_here(&spec));
    outcome.unwrap_or_else(|error| {
        Err(vec![Problem::new("/spec", format!("cannot read the workflow: {error}"))])
    })
}

/// Reads a workflow's spec on this thread, whose stack must have [`evaluation::STACK_BYTES`].
///
/// # Errors
/// Every problem that was found; the places are pointers into the resource.
pub fn read_here(spec: &Value) -> Result<Workflow, Vec<Problem>> {
    read::read(spec)
}
