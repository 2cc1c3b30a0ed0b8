//! The directory everything of ours lies below, and the names inside it.
//!
//! One module says where things are, so that no two parts of the program can disagree about it, and one variable,
//! `STIGMER_HOME`, moves all of it: tests, sandboxes and people with a small home directory need that.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The variable that moves the home directory.
pub const HOME_VARIABLE: &str = "STIGMER_HOME";

/// Why no home directory can be named.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HomeError {
    /// Neither `STIGMER_HOME` nor the user's home directory is known.
    #[error("no home directory: neither STIGMER_HOME nor HOME is set")]
    Unknown,
    /// `STIGMER_HOME` is relative, so its meaning would change with the working directory.
    #[error("STIGMER_HOME is `{0}`, which is not an absolute path")]
    Relative(PathBuf),
}

/// The home directory: `STIGMER_HOME`, else `~/.stigmer`. Nothing is created by naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    explicit: bool,
}

impl Home {
    /// Finds the home directory from the environment.
    pub fn from_env() -> Result<Self, HomeError> {
        match std::env::var_os(HOME_VARIABLE) {
            Some(value) if !value.is_empty() => Self::explicit(&value),
            _ => Self::of_person(),
        }
    }

    /// `~/.stigmer`, whatever `STIGMER_HOME` says.
    pub fn of_person() -> Result<Self, HomeError> {
        let user = dirs::home_dir().filter(|p| p.is_absolute()).ok_or(HomeError::Unknown)?;
        Ok(Self { root: user.join(".stigmer"), explicit: false })
    }

    fn explicit(value: &OsStr) -> Result<Self, HomeError> {
        let root = PathBuf::from(value);
        if root.is_absolute() { Ok(Self { root, explicit: true }) } else { Err(HomeError::Relative(root)) }
    }

    /// A home at `root`, for tests and tools; `root` must be absolute.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), explicit: true }
    }

    /// Whether the person chose this directory by `STIGMER_HOME`.
    pub fn is_explicit(&self) -> bool {
        self.explicit
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Stable paths for people and scripts.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// The store, in the version this executable reads and writes.
    pub fn store(&self) -> PathBuf {
        self.root.join("store").join("v1")
    }

    /// Lock files. Never deleted: unlinking one would split the exclusion in two.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// One log per component.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// State of what is running now: control address, instance, token.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Agent-runners that were published by themselves, as they were fetched.
    pub fn runners(&self) -> PathBuf {
        self.root.join("runners")
    }

    /// The bundle of the agent-runner that was published as `name`.
    pub fn runner(&self, name: &str) -> PathBuf {
        self.runners().join(format!("{name}.bundle"))
    }

    /// Under which name the agent-runner at `path` was published, if it is one of those kept here.
    pub fn runner_named<'a>(&self, path: &'a Path) -> Option<&'a str> {
        if path.parent() != Some(&self.runners()) {
            return None;
        }
        path.file_name()?.to_str()?.strip_suffix(".bundle").filter(|name| !name.is_empty())
    }

    /// What the services keep.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The configuration file. It may be absent.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Variables for the agent-runner that no environment sets. It may be absent.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets.env")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_override_is_refused() {
        assert_eq!(Home::explicit(OsStr::new("here")), Err(HomeError::Relative("here".into())));
    }

    #[test]
    fn a_published_runner_is_known_by_its_place() {
        let home = Home::at("/h");
        assert_eq!(home.runner_named(&home.runner("dev-test")), Some("dev-test"));
        for other in ["/h/runners/x", "/elsewhere/x.bundle", "/h/runners/a/x.bundle", "/h/runners/.bundle"] {
            assert_eq!(home.runner_named(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn everything_lies_below_the_root() {
        let home = Home::at("/h");
        for path in [
            home.bin(),
            home.store(),
            home.locks(),
            home.logs(),
            home.run(),
            home.runners(),
            home.data(),
            home.config(),
            home.secrets(),
        ] {
            assert!(path.starts_with("/h"), "{}", path.display());
        }
    }
}
