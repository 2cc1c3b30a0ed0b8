//! A directory on disk becomes a component's entries: walked in one order, hashed, and refused where it could not be
//! the same tree on another machine.

use crate::digest::Digest;
use crate::error::BundleError;
use crate::footer::is_component_name;
use crate::index::{Entry, EntryKind, Limits};
use crate::manifest::Manifest;
use crate::offset::ContentOffset;
use crate::rules::check_link;
use crate::stream::Content;
use crate::tree_path::TreePath;
use fs_err as fs;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use stigmer_platform as platform;

/// Set-user-id, set-group-id and sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// A component's tree as it lies on disk.
#[derive(Debug)]
pub(super) struct Tree {
    /// Its directory.
    pub(super) root: PathBuf,
    /// What it says of itself.
    pub(super) manifest: Manifest,
    /// Its entries, sorted. No file has a place in the content stream yet: each offset is 0.
    pub(super) entries: Vec<Entry>,
}

/// Scans the tree of the component called `name` at `root`.
pub(super) fn scan(name: &str, root: &Path) -> Result<Tree, BundleError> {
    let manifest = Manifest::read(root, name)?;
    let mut entries = Vec::new();
    walk(root, None, &mut entries)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if entries.len() > Limits::ENTRIES {
        return Err(refused(root, format!("it holds more than {} entries", Limits::ENTRIES)));
    }
    check_names(root, &entries)?;
    check_links(root, &entries)?;
    check_entrypoint(root, &manifest, &mut entries)?;
    entries.par_iter_mut().try_for_each(|entry| {
        if let EntryKind::File { size, blake3, .. } = &mut entry.kind {
            (*size, *blake3) = hash(&entry.path.below(root))?;
        }
        Ok::<_, BundleError>(())
    })?;
    Ok(Tree { root: root.to_owned(), manifest, entries })
}

fn refused(path: &Path, reason: impl Into<String>) -> BundleError {
    BundleError::Refused { path: path.to_owned(), reason: reason.into() }
}

fn walk(dir: &Path, within: Option<&TreePath>, entries: &mut Vec<Entry>) -> Result<(), BundleError> {
    for found in fs::read_dir(dir)? {
        let found = found?;
        let full = found.path();
        let name = found.file_name();
        let name = name.to_str().ok_or_else(|| refused(&full, "its name is not UTF-8"))?;
        let text = within.map_or_else(|| name.to_owned(), |dir| format!("{dir}/{name}"));
        let path = TreePath::new(text).map_err(|e| refused(&full, e.to_string()))?;
        let meta = fs::symlink_metadata(&full)?;
        let mode = platform::permission_bits(&meta);
        if meta.is_file() && mode.is_some_and(|mode| mode & SPECIAL_BITS != 0) {
            return Err(refused(
                &full,
                "it has a set-user-id, set-group-id or sticky bit, which no component may bring along",
            ));
        }
        if meta.is_dir() {
            walk(&full, Some(&path), entries)?;
            entries.push(Entry { path, kind: EntryKind::Dir });
        } else if meta.is_symlink() {
            let target = fs::read_link(&full)?;
            let target = target.to_str().ok_or_else(|| refused(&full, "its target is not UTF-8"))?.to_owned();
            entries.push(Entry { path, kind: EntryKind::Link { target } });
        } else if meta.is_file() {
            let kind = EntryKind::File {
                exec: mode.is_some_and(|mode| mode & 0o111 != 0),
                size: meta.len(),
                offset: ContentOffset::ZERO,
                blake3: Digest::NONE,
            };
            entries.push(Entry { path, kind });
        } else {
            return Err(refused(&full, "it is a pipe, socket or device, and not a file, directory or link"));
        }
    }
    Ok(())
}

/// No two names that are one on a system that ignores case.
fn check_names(root: &Path, entries: &[Entry]) -> Result<(), BundleError> {
    let mut folded = HashMap::with_capacity(entries.len());
    for Entry { path, .. } in entries {
        if let Some(other) = folded.insert(path.folded(), path) {
            return Err(refused(
                &path.below(root),
                format!("it differs from `{other}` in case only, and not every system can hold both"),
            ));
        }
    }
    Ok(())
}

fn check_links(root: &Path, entries: &[Entry]) -> Result<(), BundleError> {
    let kinds = entries.iter().map(|e| (e.path.as_str(), &e.kind)).collect();
    for Entry { path, kind } in entries {
        if let EntryKind::Link { target } = kind {
            check_link(path, target, &kinds)
                .map_err(|damage| refused(&path.below(root), damage.to_string()))?;
        }
    }
    Ok(())
}

fn check_entrypoint(root: &Path, manifest: &Manifest, entries: &mut [Entry]) -> Result<(), BundleError> {
    let at = manifest.entrypoint.below(root);
    let entry = entries.iter_mut().find(|entry| entry.path == manifest.entrypoint);
    match entry.map(|entry| &mut entry.kind) {
        None => Err(refused(&at, "it is the entrypoint, and missing")),
        Some(EntryKind::File { exec, .. }) => {
            // A host that knows no such permission cannot say; the entrypoint is meant to be run in any case.
            *exec |= !platform::HAS_PERMISSION_BITS;
            if *exec { Ok(()) } else { Err(refused(&at, "it is the entrypoint, and not executable")) }
        }
        Some(_) => Err(refused(&at, "it is the entrypoint, and not a file")),
    }
}

/// Size and digest of a file's content, read once.
fn hash(path: &Path) -> Result<(u64, Digest), BundleError> {
    let mut hasher = blake3::Hasher::new();
    let size = std::io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok((size, hasher.finalize().into()))
}

/// Gives every file its place in the content stream, and returns the files of the stream in order.
///
/// Identical files share one place. Files of one sort stand together, because neighbours share a frame and a frame
/// compresses the better the more alike its content is; within a sort the order is that of the paths, so that a file
/// which changes, comes or goes moves none of the others past each other.
pub(super) fn arrange(entries: &mut [Entry]) -> Vec<Content> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&entries[*a].path, &entries[*b].path);
        (sort_of(a), a).cmp(&(sort_of(b), b))
    });
    let mut seen: HashMap<Digest, ContentOffset> = HashMap::new();
    let mut stream = Vec::new();
    let mut end = ContentOffset::ZERO;
    for i in order {
        let Entry { path, kind } = &mut entries[i];
        if let EntryKind::File { size, offset, blake3, .. } = kind
            && *size != 0
        {
            *offset = *seen.entry(*blake3).or_insert_with(|| {
                let start = end;
                end = start + *size;
                stream.push(Content { path: path.clone(), digest: *blake3 });
                start
            });
        }
    }
    stream
}

/// What sort of file it is, by its name: its extension, and for the version numbers of shared libraries the `so`.
fn sort_of(path: &TreePath) -> &str {
    let path = path.as_str();
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    if name.contains(".so.") {
        return "so";
    }
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Where two components of one bundle would be told apart by nothing.
pub(super) fn check_distinct(components: &[(String, PathBuf)]) -> Result<(), BundleError> {
    let mut names = HashSet::new();
    for (name, dir) in components {
        if !is_component_name(name) {
            return Err(refused(
                dir,
                format!(
                    "`{name}` is not a component name: 1 to 31 of a-z, 0-9 and -, beginning with a letter"
                ),
            ));
        }
        if !names.insert(name) {
            return Err(refused(dir, format!("the component `{name}` is named twice")));
        }
    }
    Ok(())
}
