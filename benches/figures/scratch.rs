//! Where measurements write: one directory below `build/`, on the file system of the package.

use crate::Outcome;
use crate::measure::time;
use fs_err as fs;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What lies here is emptied at once and removed at the end.
const RETIRED: &str = "retired";

/// The directory of all measurements.
pub(crate) struct Scratch {
    root: PathBuf,
    /// How many trees have been retired.
    retired: Cell<usize>,
}

impl Scratch {
    pub(crate) fn new(root: PathBuf) -> Outcome<Self> {
        fs::create_dir_all(&root)?;
        remove(&root.join(RETIRED))?;
        Ok(Self { root, retired: Cell::new(0) })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A place at which nothing is.
    pub(crate) fn vacant(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.root.join(name);
        remove(&path)?;
        Ok(path)
    }

    /// An empty directory.
    pub(crate) fn empty(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.vacant(name)?;
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// A place at which nothing is, for a run that creates many files. What was there is emptied, but removed only by
    /// [`Scratch::bury`]: ext4 does not hand out an inode again for minutes after it was freed, and looks for another one by one, so
    /// that a run after a removal would pay for the removal, with a third of its time.
    pub(crate) fn fresh(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.root.join(name);
        if path.exists() {
            open_up(&path)?;
            for (file, _) in files(&path)? {
                set_mode(&file, 0o644)?;
                fs::OpenOptions::new().write(true).truncate(true).open(&file)?;
            }
            self.retired.set(self.retired.get() + 1);
            let retired = self.root.join(RETIRED);
            fs::create_dir_all(&retired)?;
            fs::rename(&path, retired.join(self.retired.get().to_string()))?;
        }
        Ok(path)
    }

    /// Removes what [`Scratch::fresh`] has set aside.
    pub(crate) fn bury(&self) -> Outcome<()> {
        remove(&self.root.join(RETIRED))
    }

    /// `tree` as `NAME.tar`, `.tar.zst` or `.tar.gz` by the usual programs at their slowest. Made once for each content, which
    /// `identity` names.
    pub(crate) fn archive(&self, tree: &Path, identity: &str, compress: &[&str]) -> Outcome<PathBuf> {
        let extension = match compress.first() {
            Some(&"zstd") => "tar.zst",
            Some(&"gzip") => "tar.gz",
            _ => "tar",
        };
        let path = self.root.join(format!("tree-{identity}.{extension}"));
        if path.exists() {
            return Ok(path);
        }
        let parent = tree.parent().ok_or("the tree has no parent")?;
        let name = tree.file_name().ok_or("the tree has no name")?;
        let unfinished = self.root.join(format!("unfinished.{extension}"));
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]).arg("-C").arg(parent);
        if !compress.is_empty() {
            tar.arg("-I").arg(compress.join(" "));
        }
        time(tar.arg("-cf").arg(&unfinished).arg(name))?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }
}

/// Removes `path`, whatever it is and whether or not its directories may be written.
pub(crate) fn remove(path: &Path) -> Outcome<()> {
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(());
    };
    if meta.is_dir() {
        open_up(path)?;
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn open_up(dir: &Path) -> Outcome<()> {
    set_mode(dir, 0o755)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

#[cfg(not(unix))]
fn set_mode(path: &Path, _mode: u32) -> Outcome<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_readonly(false);
    Ok(fs::set_permissions(path, permissions)?)
}

/// All files below `dir`, and their sizes, sorted.
pub(crate) fn files(dir: &Path) -> Outcome<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push((entry.path(), entry.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found)
}
