//! `bin/NAME`: a path that stays the same while entries come and go.
//!
//! For people and scripts. Nothing of ours starts through it, so it is best effort: swapped by rename, and a home that cannot
//! be written keeps the one it has. It goes when what it leads to is collected.

use super::Place;
use crate::Root;
use fs_err as fs;
use std::io;
use std::path::{Path, PathBuf};

/// Points `bin/NAME` at `program`, if it does not yet.
pub(super) fn point(root: &Root, name: &str, program: &Path) -> io::Result<()> {
    let bin = root.bin();
    let link = bin.join(name);
    // Relative, so that a home can be moved or mounted elsewhere.
    let relative = program
        .strip_prefix(root.path())
        .map_or_else(|_| program.to_owned(), |below| Path::new("..").join(below));
    if std::fs::read_link(&link).is_ok_and(|target| target == relative) {
        return Ok(());
    }
    fs::create_dir_all(&bin)?;
    let place = tempfile::Builder::new().prefix(".tmp-").tempdir_in(&bin)?;
    let fresh = place.path().join(name);
    stigmer_platform::symlink(&relative, &fresh)?;
    fs::rename(&fresh, &link)
}

/// Removes what in `bin` leads into the entry at `place`, which is gone.
pub(super) fn forget(place: &Place) {
    let entry = place.digest().to_string();
    for name in std::fs::read_dir(place.root().bin()).into_iter().flatten().flatten() {
        let leads_there =
            |target: PathBuf| target.components().any(|part| part.as_os_str() == entry.as_str());
        if std::fs::read_link(name.path()).is_ok_and(leads_there) {
            let _ = std::fs::remove_file(name.path());
        }
    }
}
