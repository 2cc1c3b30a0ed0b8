//! Workflows: the language on every engine, the examples, and runs on the real server with the real workflow-runner.
#![cfg(unix)]

mod conformance;
mod examples;
mod fixtures;
mod run;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("workflow");
}
