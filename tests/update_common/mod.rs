//! Releases of this very program, a host that publishes them and can be told to misbehave, and an installation to update.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses its own part of this")]

mod host;
#[path = "../ran/mod.rs"]
mod ran;
mod releases;
mod ways;

pub(crate) use host::{Do, Host, Request};
pub(crate) use releases::{
    NEW, OLD, Release, Signer, broken, described, make, new, noise, old, publish, publish_at, signer,
};

pub(crate) use ran::{Ran, eventually};
pub(crate) use ways::{Authority, Lead, Proxy, private};

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than anything takes on a busy machine; a test that reaches it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Copies a program. Another process does it: while we had the copy open for writing ourselves, any test that forks would keep it from
/// being run.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp starts");
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

/// An installed stigmer with a home, and a host it asks.
pub(crate) struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
    pub(crate) host: Host,
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that failed half way must not leave a platform behind.
        if self.home().join("run/server.json").exists() {
            let _ = self.command(&["server", "stop", "--now"]).output();
        }
    }
}

impl World {
    /// The old release is installed; the host publishes both.
    pub(crate) fn new() -> Self {
        Self::with(publish(&[old(), new()]))
    }

    /// The old release is installed; the host has these files.
    pub(crate) fn with(files: Vec<(String, Vec<u8>)>) -> Self {
        let dir = tempfile::Builder::new().prefix("stigmer-update-").tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a path");
        let world = Self { _dir: dir, root, host: Host::new(files) };
        std::fs::create_dir(world.bin()).expect("mkdir");
        std::fs::create_dir(world.home()).expect("mkdir");
        world.install(old());
        world.config("");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.path("bin")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn exe(&self) -> PathBuf {
        self.bin().join("stigmer")
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.bin().join("stigmer.previous")
    }

    /// Puts this release where the program is.
    pub(crate) fn install(&self, release: &Release) {
        let _ = std::fs::remove_file(self.exe());
        copy_program(&release.carrier, &self.exe());
    }

    /// Writes `config.toml`: the key of the tests' releases is trusted, and `more` stands in `[update]`.
    pub(crate) fn config(&self, more: &str) {
        let key = signer().public();
        let stall = if more.contains("stall_timeout") { "" } else { "stall_timeout = \"2s\"" };
        let text = format!("[update]\ntrusted_keys = [{key:?}]\n{stall}\n{more}\n");
        std::fs::write(self.home().join("config.toml"), text).expect("written");
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_at(&self.exe(), args)
    }

    pub(crate) fn command_at(&self, exe: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(exe);
        command
            .args(args)
            .env_clear()
            .env("STIGMER_HOME", self.home())
            .env("STIGMER_RELEASES_URL", self.host.url())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// Starts the command; what it says is read by whoever waits.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        start(self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Updates, and gives the report.
    #[track_caller]
    pub(crate) fn update(&self, args: &[&str]) -> Value {
        let args = [&["self-update", "--json"], args].concat();
        self.run(&args).code(0).json()
    }

    /// The version that the installed program says it has.
    #[track_caller]
    pub(crate) fn version(&self) -> String {
        version_of(self, &self.exe())
    }

    /// What lies beside the program, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.bin())
            .expect("listed")
            .map(|name| name.expect("a name").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Nothing has happened to the installation.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.names(), ["stigmer"]);
        assert!(same(&self.exe(), &old().carrier), "the program was changed");
    }

    /// The new release is installed, the old one is kept, and nothing else is there.
    #[track_caller]
    pub(crate) fn assert_updated(&self) {
        assert_eq!(self.names(), ["stigmer", "stigmer.previous"]);
        assert!(same(&self.exe(), &new().carrier), "the program is not the new release");
        assert!(same(&self.previous(), &old().carrier), "the previous one is not the old release");
        assert_eq!(self.version(), NEW);
    }
}

/// Starts a command; another test that was just starting a program may hold ours open for a moment.
pub(crate) fn start(command: &mut Command) -> Child {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => return other.unwrap_or_else(|e| panic!("{command:?}: {e}")),
        }
    }
}

/// Runs a command to its end, in the same way.
pub(crate) fn run(command: &mut Command) -> Ran {
    loop {
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => return other.unwrap_or_else(|e| panic!("{command:?}: {e}")).into(),
        }
    }
}

#[track_caller]
pub(crate) fn version_of(world: &World, exe: &Path) -> String {
    let ran = run(&mut world.command_at(exe, &["--version"])).code(0);
    ran.out.split_whitespace().nth(1).expect("a version").to_owned()
}

pub(crate) fn same(a: &Path, b: &Path) -> bool {
    let hash = |path: &Path| {
        blake3::hash(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    hash(a) == hash(b)
}

/// Says to a test that it was started by itself.
const INSIDE: &str = "STIGMER_TEST_INSIDE";

/// Whether this is a test started by itself.
fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether this process has mounts of its own. If not, runs the test `name` again in one that has, and fails with it.
#[track_caller]
pub(crate) fn in_namespace(name: &str) -> bool {
    if is_inside() {
        return true;
    }
    // Made out here, because others use them at the same time.
    let _ = (old(), new());
    let mut command = Command::new("unshare");
    command.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-rm" });
    command.arg("--").arg(std::env::current_exe().expect("this test")).args(["--exact", name, "--nocapture"]);
    let ran: Ran =
        command.env(INSIDE, "1").output().expect("this test needs `unshare`: the package util-linux").into();
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
    let ran = run(Command::new("mount").args(args).arg(at));
    assert_eq!(ran.code, Some(0), "mount {args:?}: {}", ran.err);
}
