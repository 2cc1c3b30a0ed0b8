//! Updates, end to end: releases as a maintainer makes them, and this program against a host on this machine.
//!
//! `docs/self-update.md` says what is promised.

#[cfg(target_os = "linux")]
mod basics;
mod formats;
#[cfg(target_os = "linux")]
mod hosts;
#[cfg(target_os = "linux")]
mod kills;
#[cfg(target_os = "linux")]
mod notices;
#[cfg(target_os = "linux")]
mod patches;
#[cfg(target_os = "linux")]
mod places;
#[cfg(target_os = "linux")]
mod platform;
#[cfg(unix)]
mod publish;
#[cfg(unix)]
mod real_releases;
#[cfg(target_os = "linux")]
mod rotation;
#[cfg(target_os = "linux")]
mod trust;
#[cfg(target_os = "linux")]
mod ways;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("update");
}
