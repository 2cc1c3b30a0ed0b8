//! Removing trees that were made read-only, crash-safely: renamed to trash first, deleted after.

use crate::Root;
use fs_err as fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How the names of what is being deleted begin.
pub(super) const TRASH_PREFIX: &str = ".trash-";
/// How the names of what is being made begin.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";

/// Deletes the tree at `path`, whatever its permissions. Links are removed and never followed. Gone already is success, also
/// when somebody else deletes the same tree at the same time.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    ignore_missing(try_remove_tree(path))
}

fn try_remove_tree(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        // A directory without write permission gives nothing away.
        stigmer_platform::set_mode(path, stigmer_platform::OPEN_DIRECTORY)?;
        for entry in fs::read_dir(path)? {
            remove_tree(&entry?.path())?;
        }
        return fs::remove_dir(path);
    }
    #[cfg(windows)]
    stigmer_platform::set_mode(path, 0o666)?;
    fs::remove_file(path)
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves `path` out of sight, so that it is gone at once and can be deleted at leisure. Its directory must be writable.
/// Returns where it is now.
pub(super) fn to_trash(root: &Root, path: &Path) -> io::Result<PathBuf> {
    // Some systems do not rename a directory that cannot be written.
    if fs::symlink_metadata(path)?.is_dir() {
        stigmer_platform::set_mode(path, stigmer_platform::OPEN_DIRECTORY)?;
    }
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    loop {
        // Unique among the living by process and count, among the dead by time.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = root.store().join(format!("{TRASH_PREFIX}{}-{nanos}-{count}", std::process::id()));
        match stigmer_platform::rename_no_clobber(path, &place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => {
                let text = format!("failed to move `{}` to trash", path.display());
                return other.map(|()| place).map_err(|e| io::Error::new(e.kind(), format!("{text}: {e}")));
            }
        }
    }
}

/// Tells the trash of one moment apart.
static COUNT: AtomicU64 = AtomicU64::new(0);

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_read_only_tree_goes_and_what_a_link_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, victim) = (dir.path().join("tree"), dir.path().join("victim"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("precious"), "x").unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        symlink(&victim, tree.join("a/link")).unwrap();
        stigmer_platform::set_mode(&tree.join("a/b"), 0o555).unwrap();
        stigmer_platform::set_mode(&tree.join("a"), 0o555).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && victim.join("precious").exists());
        remove_tree(&tree).unwrap();
    }
}
