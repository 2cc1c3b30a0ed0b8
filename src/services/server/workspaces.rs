//! Removing the workspaces of deleted executions.

use std::io;
use std::path::Path;
use stigmer_protocol::ExecutionId;

/// Beginning of the name of a workspace that is being removed.
const REMOVING: &str = ".removing-";

/// Removes the workspace of a deleted execution from `dir`, the directory of all workspaces; it need not exist.
///
/// It is renamed first, so that it is either whole or gone for everybody who looks. A removal that was interrupted is completed by the next
/// call. Links in it are removed and not followed.
pub(super) fn remove(dir: &Path, id: &ExecutionId) -> io::Result<()> {
    // An id is part of a path here.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    let removing = dir.join(format!("{REMOVING}{id}"));
    remove_any(&removing)?;
    match fs_err::rename(dir.join(id.as_str()), &removing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    }
    remove_any(&removing)
}

fn remove_any(path: &Path) -> io::Result<()> {
    let outcome = match fs_err::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }

    #[test]
    fn a_workspace_is_removed_and_its_neighbours_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        for id in ["01a", "01b"] {
            fs_err::create_dir_all(dir.path().join(id).join("deep")).expect("made");
            fs_err::write(dir.path().join(id).join("deep/file"), "x").expect("written");
        }
        remove(dir.path(), &"01a".into()).expect("removed");
        assert_eq!(names(dir.path()), ["01b"]);
        remove(dir.path(), &"01a".into()).expect("removed before");
        remove(&dir.path().join("none"), &"01a".into()).expect("there never was one");
        assert!(dir.path().join("01b/deep/file").exists());
    }

    #[test]
    fn an_interrupted_removal_is_completed() {
        let dir = tempfile::tempdir().expect("a directory");
        // Killed after the rename, once with the rest of a workspace that somebody wrote to meanwhile.
        for (id, is_there_again) in [("01a", false), ("01b", true)] {
            fs_err::create_dir_all(dir.path().join(format!("{REMOVING}{id}/deep"))).expect("made");
            if is_there_again {
                fs_err::create_dir_all(dir.path().join(id).join("new")).expect("made");
            }
            remove(dir.path(), &id.into()).expect("removed");
        }
        assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
    }

    #[test]
    fn an_id_that_is_no_id_removes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("workspaces");
        fs_err::create_dir_all(inner.join("01a")).expect("made");
        for id in ["", ".", "..", "../workspaces", "01a/..", "/"] {
            remove(&inner, &id.into()).expect("nothing to do");
        }
        assert!(inner.join("01a").is_dir());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        fs_err::write(outside.path().join("file"), "x").expect("written");
        fs_err::create_dir_all(dir.path().join("01a")).expect("made");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("01a/link")).expect("linked");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("01b")).expect("linked");
        remove(dir.path(), &"01a".into()).expect("removed");
        remove(dir.path(), &"01b".into()).expect("removed");
        assert!(names(dir.path()).is_empty());
        assert!(outside.path().join("file").exists());
    }
}
