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
use stigmer_bundle::{Component, Digest, FileEntry, TreePath};

/// Opening and hashing a smaller file costs more than decoding the new one with its neighbours.
const MIN_REUSED: u64 = 64 << 10;

/// Brings files of `component` that older entries hold into `stage`, and returns which. What cannot be had is simply not returned.
pub(super) fn reuse(root: &Root, component: &Component, stage: &Path) -> HashSet<TreePath> {
    let mut found = HashSet::new();
    let mut wanted: HashMap<Digest, Vec<FileEntry<'_>>> = HashMap::new();
    for file in component.files() {
        // A start trusts the entrypoint's change time, and a hard link would change that of the old entry's.
        if file.size >= MIN_REUSED && *file.path != component.entrypoint {
            wanted.entry(file.digest).or_default().push(file);
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
        let (paths, offers): (Vec<(PathBuf, u64)>, Vec<FileEntry<'_>>) = older
            .files()
            .filter(|file| wanted.contains_key(&file.digest))
            .map(|file| ((file.path.below(&place.entry()), file.size), file))
            .filter(|((path, size), _)| {
                path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == *size)
            })
            .unzip();
        for ((hash, (from, _)), offer) in hash_files(&paths, &|_| ()).into_iter().zip(&paths).zip(&offers) {
            if hash.is_ok_and(|hash| hash == offer.digest) {
                let files = wanted.get(&offer.digest).map(Vec::as_slice).unwrap_or_default();
                take_over(from, offer.is_executable, files, stage, &mut found);
            }
        }
        wanted.retain(|_, files| files.iter().any(|file| !found.contains(file.path)));
    }
    found
}

fn take_over(
    from: &Path,
    is_executable: bool,
    wanted: &[FileEntry<'_>],
    stage: &Path,
    found: &mut HashSet<TreePath>,
) {
    for file in wanted {
        let to = file.path.below(stage);
        if !found.contains(file.path)
            && (clone(from, &to, file.is_executable)
                || (is_executable == file.is_executable && link(from, &to, is_executable)))
        {
            found.insert(file.path.clone());
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
