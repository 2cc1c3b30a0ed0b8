//! Tests that mount something or look at every process run in namespaces of their own: nothing of theirs is left behind.

use std::path::Path;
use std::process::Command;

/// Says to a test that it was started by itself.
const INSIDE: &str = "STIGMER_TEST_INSIDE";

/// Mounts of its own.
pub const MOUNTS: &[&str] = &["--mount"];

/// Processes of its own, and so `/proc` of its own. The test is their first process: they all end with it.
pub const PROCESSES: &[&str] = &["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// Whether this is a test started by itself, in namespaces of its own.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Name of the test function that this stands in, as the test program lists it.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::namespace::name_of(&here)
    }};
}

/// The path of the function that `marker`, a function item, is declared in, without the crate's name.
pub fn name_of<T>(marker: &T) -> &'static str {
    let path = std::any::type_name_of_val(marker);
    let inner = path.split_once("::").map_or(path, |(_crate, inner)| inner);
    inner.rsplit_once("::").map_or(inner, |(outer, _marker)| outer)
}

/// Whether this process has such namespaces. If not, runs the test `name` again in one that has, and fails with it.
#[track_caller]
pub fn inside(namespaces: &[&str], name: &str) -> bool {
    if is_inside() {
        return true;
    }
    need("unshare", "--version", "util-linux");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(namespaces).arg("--").arg(std::env::current_exe().expect("this test"));
    let ran = command.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output().expect("unshare runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(
        ran.status.success() && out.contains("1 passed"),
        "in namespaces of its own (needs root or user namespaces): {out}\n{err}"
    );
    false
}

/// Mounts something at `at`, in a namespace of our own.
#[track_caller]
pub fn mount(args: &[&str], at: &Path) {
    assert!(is_inside(), "never in the namespace of everybody");
    std::fs::create_dir_all(at).expect("mkdir");
    need("mount", "--version", "mount");
    let ran = Command::new("mount").args(args).arg(at).output().expect("mount runs");
    assert!(ran.status.success(), "mount {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Takes away what was mounted in `dir` and below, so that it can be removed.
pub fn unmount_below(dir: &Path) {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for place in places.filter(|place| is_inside() && place.starts_with(dir)) {
        // Each mount on top of another at the same place has its own line.
        let _ = Command::new("umount").arg("-l").arg(place).status();
    }
}

/// A tool that is missing fails the test and names its package.
#[track_caller]
pub fn need(tool: &str, question: &str, package: &str) {
    let answer = Command::new(tool).arg(question).output();
    assert!(
        answer.is_ok_and(|answer| answer.status.success()),
        "this test needs `{tool}`: install the package {package}"
    );
}
