//! The local server, from start to stop, with real processes.
//!
//! Each test has a home of its own and ends with the check that no process, socket or file of it is left. `docs/server.md` says
//! what is promised.

mod api;
#[cfg(target_os = "linux")]
mod broken_homes;
#[cfg(target_os = "linux")]
mod chaos;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod components;
mod deletion;
mod disconnects;
#[cfg(target_os = "linux")]
mod disk_space;
#[cfg(target_os = "linux")]
mod doctor;
#[cfg(target_os = "linux")]
mod failures;
#[cfg(target_os = "linux")]
mod foreground;
#[cfg(target_os = "linux")]
mod health;
#[cfg(target_os = "linux")]
mod leaks;
#[cfg(target_os = "linux")]
mod lifecycle;
#[cfg(target_os = "linux")]
mod logs;
mod openapi;
#[cfg(target_os = "linux")]
mod orphans;
#[cfg(target_os = "linux")]
mod recovery;
#[cfg(target_os = "linux")]
mod recycled_pids;
#[cfg(target_os = "linux")]
mod roles;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod stop;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("server");
}
