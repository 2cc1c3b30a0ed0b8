//! The directory everything of ours lies below, and the names inside it.
//!
//! One module says where things are, so that no two parts of the program can disagree about it, and one variable,
//! `STIGMER_HOME`, moves all of it: tests, sandboxes and people with a small home directory need that.

use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stigmer_store::Root;
use stigmer_update::FetchedRunners;

/// The variable that moves the home directory.
pub const HOME_VARIABLE: &str = "STIGMER_HOME";
/// Environment variable with the number of seconds to wait for the lock of a store entry.
pub const LOCK_TIMEOUT_VARIABLE: &str = "STIGMER_LOCK_TIMEOUT";

/// Why no home directory can be named.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HomeError {
    /// Neither `STIGMER_HOME` nor the user's home directory is known.
    #[error("no home directory: neither STIGMER_HOME nor HOME is set")]
    Unknown,
    /// `STIGMER_HOME` is relative, so its meaning would change with the working directory.
    #[error("STIGMER_HOME is `{0}`, which is not an absolute path")]
    Relative(PathBuf),
    /// `STIGMER_LOCK_TIMEOUT` is not a number of seconds.
    #[error("invalid value {0:?} for {LOCK_TIMEOUT_VARIABLE}: expected a whole number of seconds")]
    LockTimeout(OsString),
}

/// The home directory: `STIGMER_HOME`, else `~/.stigmer`. Nothing is created by naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    store: Root,
}

impl Home {
    /// Finds the home directory from the environment.
    pub fn from_env() -> Result<Self, HomeError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = match set(HOME_VARIABLE) {
            Some(value) => Self::explicit(&value)?,
            None => Self::of_person()?,
        };
        match set(LOCK_TIMEOUT_VARIABLE) {
            Some(value) => home.with_lock_timeout(&value),
            None => Ok(home),
        }
    }

    fn with_lock_timeout(self, value: &OsStr) -> Result<Self, HomeError> {
        let seconds = value.to_str().and_then(|text| text.parse().ok());
        let seconds = seconds.ok_or_else(|| HomeError::LockTimeout(value.to_owned()))?;
        Ok(Self { store: self.store.with_lock_timeout(Duration::from_secs(seconds)) })
    }

    /// `~/.stigmer`, whatever `STIGMER_HOME` says.
    pub fn of_person() -> Result<Self, HomeError> {
        let user = dirs::home_dir().filter(|p| p.is_absolute()).ok_or(HomeError::Unknown)?;
        Ok(Self { store: Root::personal(user.join(".stigmer")) })
    }

    fn explicit(value: &OsStr) -> Result<Self, HomeError> {
        let root = PathBuf::from(value);
        if root.is_absolute() { Ok(Self::at(root)) } else { Err(HomeError::Relative(root)) }
    }

    /// A home at `root`, for tests and tools; `root` must be absolute.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { store: Root::at(root) }
    }

    /// Whether the user chose this directory by `STIGMER_HOME`.
    pub fn is_explicit(&self) -> bool {
        !self.store.is_personal()
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        self.store.path()
    }

    /// One log per component.
    pub fn logs(&self) -> PathBuf {
        self.root().join("logs")
    }

    /// State of what is running now: control address, instance, token.
    pub fn run(&self) -> PathBuf {
        self.root().join("run")
    }

    /// Agent-runners that were published by themselves, as they were fetched.
    pub fn runners(&self) -> FetchedRunners {
        FetchedRunners::at(self.root().join("runners"))
    }

    /// What the services keep.
    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// What an update remembers from one run to the next.
    pub fn update_state(&self) -> PathBuf {
        self.data().join("update")
    }

    /// The configuration file. It may be absent.
    pub fn config(&self) -> PathBuf {
        self.root().join("config.toml")
    }

    /// Variables for the agent-runner that no environment sets. It may be absent.
    pub fn secrets(&self) -> PathBuf {
        self.root().join("secrets.env")
    }
}

/// The store's own directories: `bin`, `store` and `locks`.
impl Deref for Home {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.store
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
    fn lock_timeout_is_a_whole_number_of_seconds() {
        let home = |value| Home::at("/h").with_lock_timeout(OsStr::new(value));
        assert_eq!(home("120").unwrap().lock_timeout(), Duration::from_secs(120));
        for invalid in ["1m", "-1", "1.5", " 1"] {
            assert_eq!(home(invalid), Err(HomeError::LockTimeout(invalid.into())));
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
            home.runners().dir().to_owned(),
            home.data(),
            home.config(),
            home.secrets(),
        ] {
            assert!(path.starts_with("/h"), "{}", path.display());
        }
    }
}
