//! Releases of this very program, a host that publishes them and can be told to misbehave, and an installation to update.

mod host;
mod network;
mod releases;

pub use host::{Do, Host, Request};
pub use releases::{
    NEW, OLD, Release, Signer, broken, described, make, new, noise, old, publish, publish_at, signer,
};

pub use network::{Authority, Lead, Proxy, private};

use crate::Ran;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than anything takes on a busy machine; a test that reaches it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Copies a program. Another process does it: while we had the copy open for writing ourselves, any test that forks would keep it from
/// being run.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp starts");
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

/// An installed stigmer with a home, and a host it asks.
pub struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
    /// The host that publishes the releases.
    pub host: Host,
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
    pub fn new() -> Self {
        Self::with(publish(&[old(), new()]))
    }

    /// The old release is installed; the host has these files.
    pub fn with(files: Vec<(String, Vec<u8>)>) -> Self {
        let dir = tempfile::Builder::new().prefix("stigmer-update-").tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a path");
        let world = Self { _dir: dir, root, host: Host::new(files) };
        std::fs::create_dir(world.bin()).expect("mkdir");
        std::fs::create_dir(world.home()).expect("mkdir");
        world.install(old());
        world.config("");
        world
    }

    /// A path beside the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory of the installed program.
    pub fn bin(&self) -> PathBuf {
        self.path("bin")
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Path of the installed program.
    pub fn exe(&self) -> PathBuf {
        self.bin().join("stigmer")
    }

    /// Path of the version before, which an update keeps.
    pub fn previous(&self) -> PathBuf {
        self.bin().join("stigmer.previous")
    }

    /// Puts this release where the program is.
    pub fn install(&self, release: &Release) {
        let _ = std::fs::remove_file(self.exe());
        copy_program(&release.carrier, &self.exe());
    }

    /// Writes `config.toml`: the key of the tests' releases is trusted, and `more` stands in `[update]`.
    pub fn config(&self, more: &str) {
        let key = signer().public();
        let stall = if more.contains("stall_timeout") { "" } else { "stall_timeout = \"2s\"" };
        let text = format!("[update]\ntrusted_keys = [{key:?}]\n{stall}\n{more}\n");
        std::fs::write(self.home().join("config.toml"), text).expect("written");
    }

    /// A command of the installed program, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_at(&self.exe(), args)
    }

    /// A command of the program at `exe`, in the same home and with the same host.
    pub fn command_at(&self, exe: &Path, args: &[&str]) -> Command {
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

    /// Runs a command of the installed program to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// Starts the command; what it says is read by whoever waits.
    pub fn spawn(&self, args: &[&str]) -> Child {
        start(self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Updates, and gives the report.
    #[track_caller]
    pub fn update(&self, args: &[&str]) -> Value {
        let args = [&["self-update", "--json"], args].concat();
        self.run(&args).code(0).json()
    }

    /// The version that the installed program says it has.
    #[track_caller]
    pub fn version(&self) -> String {
        version_of(self, &self.exe())
    }

    /// What lies beside the program, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.bin())
            .expect("listed")
            .map(|name| name.expect("a name").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Nothing has happened to the installation.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.names(), ["stigmer"]);
        assert!(same(&self.exe(), &old().carrier), "the program was changed");
    }

    /// The new release is installed, the old one is kept, and nothing else is there.
    #[track_caller]
    pub fn assert_updated(&self) {
        assert_eq!(self.names(), ["stigmer", "stigmer.previous"]);
        assert!(same(&self.exe(), &new().carrier), "the program is not the new release");
        assert!(same(&self.previous(), &old().carrier), "the previous one is not the old release");
        assert_eq!(self.version(), NEW);
    }
}

/// Starts a command; another test that was just starting a program may hold ours open for a moment.
pub fn start(command: &mut Command) -> Child {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => return other.unwrap_or_else(|e| panic!("{command:?}: {e}")),
        }
    }
}

/// Runs a command to its end, in the same way.
pub fn run(command: &mut Command) -> Ran {
    loop {
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => return other.unwrap_or_else(|e| panic!("{command:?}: {e}")).into(),
        }
    }
}

/// The version that the program at `exe` prints.
#[track_caller]
pub fn version_of(world: &World, exe: &Path) -> String {
    let ran = run(&mut world.command_at(exe, &["--version"])).code(0);
    ran.out.split_whitespace().nth(1).expect("a version").to_owned()
}

/// Whether two files have the same content.
pub fn same(a: &Path, b: &Path) -> bool {
    let hash = |path: &Path| {
        blake3::hash(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    hash(a) == hash(b)
}
