//! The system's tools that some tests need. A tool that is missing fails the test and names its package.

use super::namespace::{MOUNTS, inside, is_inside, need};
use super::{Payload, carrier};
use std::process::Command;

/// A command that runs `command` under strace. `options` are strace's.
#[track_caller]
pub(crate) fn strace(options: &[&str], command: &Command) -> Command {
    need("strace", "--version", "strace");
    let mut traced = Command::new("strace");
    traced.arg("-f").args(options).arg("--").arg(command.get_program()).args(command.get_args());
    traced.env_clear();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(key, value);
        }
    }
    // For strace itself; the traced program is named by its path.
    traced.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    traced
}

/// Whether this process has mounts of its own. If not, runs the test `name` again in one that has, and fails with it.
#[track_caller]
pub(crate) fn in_namespace(name: &str) -> bool {
    if !is_inside() {
        for payload in [Payload::One, Payload::Two, Payload::Small] {
            // Packed out here, because others use it at the same time.
            carrier(payload);
        }
    }
    inside(MOUNTS, name)
}
