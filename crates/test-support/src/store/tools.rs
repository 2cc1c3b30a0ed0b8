//! The system's tools that some tests need. A tool that is missing fails the test and names its package.

use crate::namespace::need;
use std::process::Command;

/// A command that runs `command` under strace. `options` are strace's.
#[track_caller]
pub fn strace(options: &[&str], command: &Command) -> Command {
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
