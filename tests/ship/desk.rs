//! A clean home to install into, with no more tools than a test allows.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use stigmer_test_support::Ran;
use stigmer_test_support::update::{Host, run, signer};

/// What every Linux and macOS has, and `install.sh` may use.
const BASIC: [&str; 22] = [
    "sh", "awk", "basename", "cat", "chmod", "cmp", "cp", "cut", "dirname", "grep", "head", "ln", "mkdir",
    "mktemp", "mv", "readlink", "rm", "sed", "tail", "tr", "uname", "wc",
];

/// A home that nothing was ever installed in.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("stigmer-ship-").tempdir().expect("a directory");
        let desk = Self { dir };
        std::fs::create_dir(desk.path("home")).expect("mkdir");
        std::fs::write(desk.path("keys"), format!("# ours\n{}\n", signer().public())).expect("written");
        desk
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("a path")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Where the installer puts it.
    pub(crate) fn exe(&self) -> PathBuf {
        self.path("home/.local/bin/stigmer")
    }

    /// A directory for `PATH` that has the basic tools, and `more`.
    pub(crate) fn tools(&self, more: &[&str]) -> PathBuf {
        let dir = self.path(&format!("tools-{}", more.join("-")));
        if !dir.exists() {
            std::fs::create_dir(&dir).expect("mkdir");
            for name in BASIC.iter().chain(more) {
                symlink(which(name), dir.join(name)).expect("a link");
            }
        }
        dir
    }

    /// The installer, with these tools besides the basic ones, asking `host`.
    pub(crate) fn installer(&self, host: &Host, tools: &[&str], args: &[&str]) -> Command {
        self.script(&Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"), host, tools, args)
    }

    pub(crate) fn script(&self, script: &Path, host: &Host, tools: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(which("sh"));
        command
            .arg(script)
            .args(args)
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", self.tools(tools))
            .env("STIGMER_RELEASES_URL", host.url())
            .env("STIGMER_RELEASE_KEYS", self.path("keys"))
            .current_dir(self.root())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn install(&self, host: &Host, tools: &[&str], args: &[&str]) -> Ran {
        run(&mut self.installer(host, tools, args))
    }

    /// Everything below the home, directories excepted.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut dirs = vec![self.path("home")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("listed") {
                let path = entry.expect("an entry").path();
                if path.is_dir() && !path.is_symlink() {
                    dirs.push(path);
                } else {
                    files.push(path.strip_prefix(self.path("home")).expect("below it").display().to_string());
                }
            }
        }
        files.sort();
        files
    }
}

/// Where a program lies that a test needs.
pub(crate) fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("this test needs `{name}`: see tests/tools.sh"))
}
