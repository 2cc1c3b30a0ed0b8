//! What the fault tests share: a world of their own for each test, and a way to look at a tree.

mod carrier;
mod snapshot;
mod tools;

pub use carrier::{NAME, Payload, carrier};
pub use snapshot::{Snapshot, settle, snapshot};
pub use tools::strace;

use crate::Ran;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use stigmer::bundle::{Carrier, Digest};
use stigmer::home::Home;
use stigmer::store::{Place, Problem};
use tempfile::TempDir;

/// An ordinary user: nobody.
pub const NOBODY: u32 = 65534;

/// A home and some room beside it, removed in the end whatever the permissions in it.
pub struct World {
    dir: TempDir,
    home: PathBuf,
}

impl Ran {
    /// The outcome of `cache warm --json`.
    #[track_caller]
    pub fn outcome(&self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.json()["components"][0]["outcome"].as_str().expect("an outcome").to_owned()
    }
}

impl World {
    /// A world with a home that does not exist yet.
    pub fn new() -> Self {
        Self::named("home")
    }

    /// A world whose home has this name.
    pub fn named(home: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("stigmer-fault-").tempdir().expect("a temporary directory");
        // Other users must get through, for the tests that run as one.
        set_mode(dir.path(), 0o755);
        let home = dir.path().join(home);
        Self { dir, home }
    }

    /// The home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The store's directory in the home.
    pub fn store(&self) -> PathBuf {
        Home::at(&self.home).store()
    }

    /// A path beside the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The place of the payload's entry in the store.
    pub fn place(&self, payload: Payload) -> Place {
        Place::new(&Home::at(&self.home), digest(payload))
    }

    /// Path of the payload's entry.
    pub fn entry(&self, payload: Payload) -> PathBuf {
        self.place(payload).entry()
    }

    /// A command in this home, with nothing else in its environment.
    pub fn command<S: AsRef<OsStr>>(&self, exe: &Path, args: &[S]) -> Command {
        let mut command = Command::new(exe);
        command.args(args).env_clear().env("STIGMER_HOME", &self.home).stdin(Stdio::null());
        command.current_dir(self.dir.path());
        command
    }

    /// Runs a command in this home to its end.
    pub fn run<S: AsRef<OsStr>>(&self, exe: &Path, args: &[S]) -> Ran {
        run(&mut self.command(exe, args))
    }

    /// Runs the command as an ordinary user.
    pub fn run_as_nobody<S: AsRef<OsStr>>(&self, exe: &Path, args: &[S]) -> Ran {
        let mut command = self.command(exe, args);
        as_nobody(&mut command);
        run(&mut command)
    }

    /// A copy of the carrier that this world's tests may damage or run as another user.
    pub fn copy_of(&self, payload: Payload) -> PathBuf {
        let copy = self.path("stigmer");
        // By another process: while we had it open for writing ourselves, any test that forks would keep it from being run.
        let copied = Command::new("cp").arg(carrier(payload)).arg(&copy).status().expect("cp starts");
        assert!(copied.success(), "a copy of the carrier");
        set_mode(&copy, 0o755);
        copy
    }

    /// Materializes the payload, and waits until every later change shows in a change time.
    #[track_caller]
    pub fn warm(&self, payload: Payload) -> Ran {
        let ran = self.run(carrier(payload), &["cache", "warm", "--json"]).code(0);
        settle(&self.dir.path().join("clock"));
        ran
    }

    /// Everything wrong with the entry, by a reading of our own.
    pub fn problems(&self, payload: Payload) -> Vec<Problem> {
        let component = Carrier::open(carrier(payload)).and_then(|c| c.component(NAME)).expect("an index");
        stigmer::store::verify(&self.entry(payload), &component, &|_| ())
    }

    /// The names in the store, without the digests.
    pub fn names_in_store(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.store())
            .into_iter()
            .flatten()
            .map(|name| name.expect("a name").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Nothing stands in the store that looks like an entry, complete or in the making.
    #[track_caller]
    pub fn assert_nothing_published(&self) {
        let names = self.names_in_store();
        assert!(names.iter().all(|name| name.ends_with(".manifest")), "{names:?}");
    }

    /// Makes every leftover of killed processes look two hours old.
    pub fn age_leftovers(&self) {
        let home = Home::at(&self.home);
        for dir in [home.store(), home.bin()] {
            for name in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if name.file_name().to_string_lossy().starts_with('.') {
                    age(&name.path(), 2 * 3600);
                }
            }
        }
    }

    /// Nothing of killed processes is left anywhere in the home.
    #[track_caller]
    pub fn assert_no_leftovers(&self) {
        let home = Home::at(&self.home);
        for dir in [home.store(), home.bin()] {
            let left: Vec<_> = std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|name| name.file_name().to_string_lossy().into_owned())
                .filter(|name| name.starts_with('.'))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        open_up(self.dir.path());
    }
}

/// Gives the owner every permission on every directory below, so that all of it can be deleted.
pub fn open_up(dir: &Path) {
    let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755));
    for name in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if name.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&name.path());
        }
    }
}

/// The digest of the payload's component.
pub fn digest(payload: Payload) -> Digest {
    Carrier::read_footer(carrier(payload)).expect("a footer").component(NAME).expect("the component")
}

/// Runs a command to its end; waits while its program is busy.
pub fn run(command: &mut Command) -> Ran {
    when_free(command, Command::output).into()
}

/// Starts the command; whoever calls waits for it.
pub fn spawn(command: &mut Command) -> Child {
    when_free(command, Command::spawn)
}

fn when_free<T>(command: &mut Command, start: impl Fn(&mut Command) -> std::io::Result<T>) -> T {
    loop {
        match start(command) {
            // Another test that was just starting a program had our copy of the carrier still open for writing, for the moment
            // between its fork and its exec.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => return other.unwrap_or_else(|e| panic!("{command:?}: {e}")),
        }
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets `command` run as an ordinary user; if we are one already, as us.
pub fn as_nobody(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Gives the tree to the ordinary user, links themselves and not what they point to.
pub fn give_to_nobody(path: &Path) {
    if !is_root() {
        return;
    }
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).expect("chown");
    if path.symlink_metadata().expect("a file").is_dir() {
        for name in std::fs::read_dir(path).expect("a directory") {
            give_to_nobody(&name.expect("a name").path());
        }
    }
}

/// Sets the permission bits of a file.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .unwrap_or_else(|e| panic!("chmod {}: {e}", path.display()));
}

/// Sets the modification time back by so many seconds.
pub fn age(path: &Path, seconds: u64) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.set_modified(then).expect("utimes");
}

/// Reads standard error up to the first line that holds `word`. Returns all of it, and the rest to be read.
#[track_caller]
pub fn wait_for(child: &mut Child, word: &str) -> (String, BufReader<ChildStderr>) {
    let mut reader = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains(word) {
        assert_ne!(reader.read_line(&mut said).expect("text"), 0, "it ended without {word:?}: {said}");
    }
    (said, reader)
}
