//! How stigmer reaches people: the installer, a release as it is made, Homebrew's formula.
#![cfg(target_os = "linux")]

mod desk;
mod formula;
mod install;
mod release;
mod runner;
mod steps;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("ship");
}
