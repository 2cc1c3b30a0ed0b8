//! `component.json`: what a tree says of itself, so that a pack command names a directory and nothing more.
//!
//! It is part of the tree and packed with it. Unknown keys are refused: a misspelt key that is ignored is a mistake
//! that shows itself only on somebody else's machine.

use crate::error::BundleError;
use crate::index::Limits;
use crate::rules::is_version;
use crate::tree_path::TreePath;
use fs_err as fs;
use serde::Deserialize;
use std::io;
use std::path::Path;

/// The name of the file, at the top of a component's tree.
pub const MANIFEST: &str = "component.json";
/// Larger than any honest one.
const MAX_LEN: u64 = 64 << 10;

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The component's name.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// The program to run.
    pub entrypoint: TreePath,
    /// The arguments with which the entrypoint checks itself. Without them there is no check.
    #[serde(default)]
    pub self_check: Option<Vec<String>>,
}

impl Manifest {
    /// Reads the manifest of the tree at `dir`, which should be that of the component called `name`.
    pub(super) fn read(dir: &Path, name: &str) -> Result<Self, BundleError> {
        let path = dir.join(MANIFEST);
        let refuse = |reason: String| BundleError::Refused { path: path.clone(), reason };
        let len = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => meta.len(),
            Ok(_) => return Err(refuse("it is not a file".into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(refuse(
                    "it is missing; it says the component's name, version and entrypoint".into(),
                ));
            }
            Err(e) => return Err(e.into()),
        };
        if len > MAX_LEN {
            return Err(refuse(format!("it has {len} bytes; at most {MAX_LEN} are allowed")));
        }
        let manifest: Self = serde_json::from_slice(&fs::read(&path)?)
            .map_err(|e| refuse(format!("it is not a manifest: {e}")))?;
        if manifest.name != name {
            return Err(refuse(format!("it is the component `{}`, not `{name}`", manifest.name)));
        }
        if !is_version(&manifest.version) {
            return Err(refuse(format!(
                "its version {:?} is not 1 to {} printable characters without spaces",
                manifest.version,
                Limits::VERSION_LEN
            )));
        }
        Ok(manifest)
    }
}
