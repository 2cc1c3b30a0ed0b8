//! Updates, end to end: this very program, against a host on this machine. `docs/self-update.md` says what is promised.
#![cfg(target_os = "linux")]

#[path = "../release_common/mod.rs"]
mod release_common;
#[path = "../update_common/mod.rs"]
mod update_common;

mod basics;
mod hosts;
mod kills;
mod notices;
mod patches;
mod places;
mod platform;
mod rotation;
mod trust;
mod ways;
