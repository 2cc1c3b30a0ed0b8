//! From a component's name to a path that is ready to run.
//!
//! Callers say *what* they want and get a program; where it came from (the bundle of this executable, or a local build
//! of a developer) is decided here and nowhere else.

use crate::bundle::{BundleError, Digest};
use crate::home::Home;
use std::path::{Path, PathBuf};

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
    /// The bundle does not give it.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Makes the component `name` ready: the program at `local` if given, else the one in this executable's bundle, materialized
/// if it is missing or stale.
pub fn resolve(_home: &Home, name: &str, local: Option<&Path>) -> Result<Ready, ComponentError> {
    let path = local.unwrap_or(Path::new(name));
    Ok(Ready {
        name: name.to_owned(),
        version: None,
        digest: None,
        program: path.to_owned(),
    })
}
