//! Reuse: a file that an older entry already holds is not decoded again.
//!
//! A new version of a component shares most of its bytes with the last one. What has the same digest is cloned where the file system
//! can share blocks, hard-linked where it cannot, and hashed either way, because an older entry may be damaged. A link shares
//! its inode with the old entry; that is harmless, since entries are read-only and repair always makes fresh inodes.

use super::{Place, hash::hash_files, lease, list::entries, manifest};
use crate::Root;
use fs_err as fs;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use stigmer_bundle::{Component, Digest, TreePath};

/// Below this, opening and hashing the old file costs more than decoding the new one with its neighbours.
const WORTHWHILE: u64 = 64 << 10;

/// Brings files of `component` that older entries hold into `stage`, and returns which. What cannot be had is simply not returned.
pub(super) fn reuse(root: &Root, component: &Component, stage: &Path) -> HashSet<TreePath> {
    let mut found = HashSet::new();
    let mut wanted: HashMap<Digest, Vec<(&TreePath, bool, u64)>> = HashMap::new();
    for (path, exec, size, _, digest) in component.files() {
        // A start trusts the entrypoint's change time, and a hard link would change that of the old entry's.
        if size >= WORTHWHILE && *path != component.entrypoint {
            wanted.entry(digest).or_default().push((path, exec, size));
        }
    }
    for digest in entries(root) {
        if digest == component.digest || wanted.is_empty() {
            continue;
        }
        let place = Place::new(root, digest);
        // Held while its files are linked, so that it is not collected under our hands.
        let lease::Taken::Held(_lease) = lease::Lease::hold(&place.lease()) else {
            continue;
        };
        let Some(older) = manifest::read(&place) else {
            continue;
        };
        let offers: Vec<(PathBuf, u64, bool, Digest)> = older
            .files()
            .filter(|(.., digest)| wanted.contains_key(digest))
            .map(|(path, exec, size, _, digest)| (path.below(&place.entry()), size, exec, digest))
            .filter(|(path, size, ..)| {
                path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == *size)
            })
            .collect();
        let asked: Vec<_> = offers.iter().map(|(path, size, ..)| (path.clone(), *size)).collect();
        for (hash, (from, _, exec, digest)) in hash_files(&asked, &|_| ()).into_iter().zip(&offers) {
            if hash.is_ok_and(|hash| hash == *digest) {
                take_over(from, *exec, wanted.get(digest).map_or(&[], Vec::as_slice), stage, &mut found);
            }
        }
        wanted.retain(|_, paths| paths.iter().any(|(path, ..)| !found.contains(*path)));
    }
    found
}

fn take_over(
    from: &Path,
    from_exec: bool,
    wanted: &[(&TreePath, bool, u64)],
    stage: &Path,
    found: &mut HashSet<TreePath>,
) {
    for (path, exec, _) in wanted {
        let to = path.below(stage);
        if !found.contains(*path)
            && (clone(from, &to, *exec) || (from_exec == *exec && link(from, &to, *exec)))
        {
            found.insert((*path).clone());
        }
    }
}

fn clone(from: &Path, to: &Path, exec: bool) -> bool {
    let done = fs::File::open(from).and_then(|from| {
        let target = fs::OpenOptions::new().write(true).create_new(true).open(to)?;
        stigmer_platform::clone_file(from.file(), target.file())?;
        stigmer_platform::set_file_mode(target.file(), stigmer_platform::stored_mode(exec))
    });
    // A half-made file must not stand in the way of linking or decoding it.
    done.is_ok() || {
        let _ = std::fs::remove_file(to);
        false
    }
}

fn link(from: &Path, to: &Path, exec: bool) -> bool {
    let is_right =
        |meta: std::fs::Metadata| stigmer_platform::has_mode(&meta, stigmer_platform::stored_mode(exec));
    from.symlink_metadata().is_ok_and(is_right) && std::fs::hard_link(from, to).is_ok()
}
