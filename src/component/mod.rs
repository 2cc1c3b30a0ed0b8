//! From a component's name to a path that is ready to run.
//!
//! Callers say *what* they want and get a program; where it came from (the bundle of this executable, or a local build
//! of a developer, or a bundle that was fetched) is decided here and nowhere else.

use crate::bundle::{BundleError, Carrier, Digest};
use crate::home::Home;
use crate::store::{self, Depth, How, Lease, Progress, StoreError};
use std::path::{Path, PathBuf};

/// What to do where no program may be run, as `platform::is_noexec` tells.
pub const NOEXEC_HINT: &str =
    "its file system is mounted noexec: set STIGMER_HOME to a directory where programs may run";

/// A component that can be run now.
#[derive(Debug)]
pub struct Ready {
    /// The component's name.
    pub name: String,
    /// Its version, as far as it is known without running it.
    pub version: Option<String>,
    /// Its payload digest; `None` for a local override.
    pub digest: Option<Digest>,
    /// The program to run.
    pub program: PathBuf,
    /// What had to be done; `None` for a local override.
    pub how: Option<How>,
    /// Says that the store's entry is in use. Keep it as long as the program runs.
    pub lease: Option<Lease>,
}

/// Why a component cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The local override is no file or directory that can be run.
    #[error("`{}` is not a program that can be run: {reason}", path.display())]
    Local {
        /// What was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// This executable carries nothing, and no local override was given.
    #[error("`{}` is a bare binary: it carries no component `{name}`", executable.display())]
    Bare {
        /// This executable.
        executable: PathBuf,
        /// The component asked for.
        name: String,
    },
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the component `name` ready: the program at `local` if given (or the one in it, if that is a bundle), else the one in the bundle of the running executable,
/// materialized if it is missing or stale and looked at as closely as `depth` says.
pub fn resolve(
    home: &Home,
    name: &str,
    local: Option<&Path>,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Ready, ComponentError> {
    if let Some(path) = local {
        if holds(path, name) {
            return materialized(home, path, name, depth, progress);
        }
        return override_by(name, path);
    }
    let executable = crate::platform::own_executable().map_err(StoreError::Io)?;
    materialized(home, &executable, name, depth, progress)
}

/// Whether `path` is a bundle with the component in it, rather than the component.
fn holds(path: &Path, name: &str) -> bool {
    Carrier::read_footer(path).is_ok_and(|footer| footer.component(name).is_some())
}

/// The component in the bundle of `executable`, in the store.
fn materialized(
    home: &Home,
    executable: &Path,
    name: &str,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Ready, ComponentError> {
    let entry = store::ensure(home, executable, name, depth, progress).map_err(|error| match error {
        StoreError::Bundle(BundleError::Bare { .. }) => {
            ComponentError::Bare { executable: executable.to_owned(), name: name.to_owned() }
        }
        error => error.into(),
    })?;
    if let How::Healed { problems } = &entry.how {
        let count = problems.len();
        let files = if count == 1 { "damaged file was" } else { "damaged files were" };
        progress.notice(&format!("{name}: {count} {files} repaired"));
    }
    Ok(Ready {
        name: name.to_owned(),
        version: Some(entry.version),
        digest: Some(entry.place.digest()),
        program: entry.program,
        how: Some(entry.how),
        lease: Some(entry.lease),
    })
}

/// A developer's own build: a program, or a one-folder build that holds a program of the component's name.
fn override_by(name: &str, path: &Path) -> Result<Ready, ComponentError> {
    let refuse = |path: &Path, reason: &str| ComponentError::Local {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let meta = path.metadata().map_err(|error| refuse(path, &error.to_string()))?;
    let program = if meta.is_dir() {
        path.join(name).with_extension(std::env::consts::EXE_EXTENSION)
    } else {
        path.to_owned()
    };
    // It is run from other working directories than this one.
    let program = program.canonicalize().map_err(|error| refuse(&program, &error.to_string()))?;
    let meta = program.metadata().map_err(|error| refuse(&program, &error.to_string()))?;
    if !meta.is_file() || !crate::platform::is_executable(&meta) {
        return Err(refuse(&program, "it is not an executable file"));
    }
    Ok(Ready { name: name.to_owned(), version: None, digest: None, program, how: None, lease: None })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn program(path: &Path) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        crate::platform::set_mode(path, 0o755).unwrap();
    }

    #[test]
    fn a_local_override_is_a_program_or_a_folder_with_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent-runner");
        assert!(matches!(override_by("agent-runner", &file), Err(ComponentError::Local { .. })));
        assert!(matches!(override_by("agent-runner", dir.path()), Err(ComponentError::Local { .. })));
        program(&file);
        let expected = file.canonicalize().unwrap();
        assert_eq!(override_by("agent-runner", &file).unwrap().program, expected);
        assert_eq!(override_by("agent-runner", dir.path()).unwrap().program, expected);
    }

    #[test]
    fn what_cannot_be_executed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        std::fs::write(&file, "").unwrap();
        let error = override_by("x", &file).unwrap_err().to_string();
        assert!(error.contains("not an executable file"), "{error}");
    }
}
