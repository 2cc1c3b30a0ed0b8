//! How stigmer reaches people: the installer, a release as it is made, Homebrew's formula.
#![cfg(target_os = "linux")]

#[path = "../update_common/mod.rs"]
#[expect(unused_imports, reason = "each test program uses its own part of this")]
mod update_common;

mod desk;
mod formula;
mod install;
mod release;
mod runner;
mod steps;
