//! How a tree looks: enough to tell whether anything at all was written to it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
    pub mode: u32,
    pub owner: u32,
    pub size: u64,
    pub hash: Option<blake3::Hash>,
    target: Option<PathBuf>,
}

/// Every path of a tree, and how it looks.
pub type Snapshot = BTreeMap<PathBuf, Seen>;

/// Takes down how the tree at `root` looks; nothing is followed.
pub fn snapshot(root: &Path) -> Snapshot {
    let mut all = Snapshot::new();
    walk(root, &mut all);
    all
}

fn walk(path: &Path, all: &mut Snapshot) {
    let Ok(meta) = path.symlink_metadata() else {
        return;
    };
    all.insert(
        path.to_owned(),
        Seen {
            inode: meta.ino(),
            changed: (meta.ctime(), meta.ctime_nsec()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            mode: meta.mode(),
            owner: meta.uid(),
            size: meta.size(),
            hash: meta.is_file().then(|| blake3::hash(&std::fs::read(path).expect("readable"))),
            target: std::fs::read_link(path).ok(),
        },
    );
    if meta.is_dir() {
        for name in std::fs::read_dir(path).expect("a directory") {
            walk(&name.expect("a name").path(), all);
        }
    }
}

/// Waits until the file system's clock has moved on: it ticks a few hundred times a second, and two changes within
/// one tick have the same change time.
pub fn settle(probe: &Path) {
    let changed = || {
        std::fs::write(probe, "tick").expect("a probe");
        let meta = probe.symlink_metadata().expect("a probe");
        (meta.ctime(), meta.ctime_nsec())
    };
    let first = changed();
    while changed() == first {
        std::thread::yield_now();
    }
}
