//! Agents on the command line: applied, run, followed and cancelled on a real server.
#![cfg(unix)]

mod apply;
mod delete;
mod follow;
mod real;
mod worker;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("agent");
}
