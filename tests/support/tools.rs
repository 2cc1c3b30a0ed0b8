//! The system's tools that some tests need. A tool that is missing fails the test and names its package.

use super::{Payload, carrier};
use std::path::Path;
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

/// Says to a test that it was started by itself.
const INSIDE: &str = "STIGMER_TEST_INSIDE";

/// Whether this is a test started by itself, in a namespace of its own.
pub(super) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether this process has mounts of its own. If not, runs the test `name` again in one that has, and fails with it.
#[track_caller]
pub(crate) fn in_namespace(name: &str) -> bool {
    if is_inside() {
        return true;
    }
    for payload in [Payload::One, Payload::Two, Payload::Small] {
        // Packed out here, because others use it at the same time.
        carrier(payload);
    }
    need("unshare", "--version", "util-linux");
    let mut command = Command::new("unshare");
    command.arg(if super::is_root() { "-m" } else { "-rm" });
    command.arg("--").arg(std::env::current_exe().expect("this test")).args(["--exact", name, "--nocapture"]);
    let ran = super::run(command.env(INSIDE, "1"));
    assert!(
        ran.code == Some(0) && ran.out.contains("1 passed"),
        "in a mount namespace (needs root or user namespaces): {}\n{}",
        ran.out,
        ran.err
    );
    false
}

/// Mounts something at `at`, in a namespace of our own.
#[track_caller]
pub(crate) fn mount(args: &[&str], at: &Path) {
    assert!(is_inside(), "never in the namespace of everybody");
    std::fs::create_dir_all(at).expect("mkdir");
    need("mount", "--version", "mount");
    let ran = super::run(Command::new("mount").args(args).arg(at));
    assert_eq!(ran.code, Some(0), "mount {args:?}: {}", ran.err);
}

#[track_caller]
fn need(tool: &str, question: &str, package: &str) {
    let answer = Command::new(tool).arg(question).output();
    assert!(
        answer.is_ok_and(|answer| answer.status.success()),
        "this test needs `{tool}`: install the package {package}"
    );
}
