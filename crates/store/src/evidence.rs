//! How a whole tree looks, in one digest, without reading a single file.
//!
//! Size, inode, mode and change time of every entry. A change time cannot be set by a program, so whatever was done to a file through
//! the file system shows; and a directory's own change time shows what was added to it or taken away, so nothing needs
//! to be listed.

use std::io;
use std::path::Path;
use stigmer_bundle::{Component, Digest};

/// The evidence of `component`'s tree below `root`.
///
/// # Errors
/// An entry is missing or cannot be looked at.
pub(super) fn of_tree(root: &Path, component: &Component) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new_derive_key("stigmer tree evidence v1");
    add(&mut hasher, root)?;
    for entry in &component.entries {
        add(&mut hasher, &entry.path.below(root))?;
    }
    Ok(hasher.finalize().into())
}

fn add(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<()> {
    let meta = fs_err::symlink_metadata(path)?;
    let seen = stigmer_platform::evidence(&meta);
    // A directory's size is the file system's own affair.
    let size = if meta.is_dir() { 0 } else { seen.size };
    hasher
        .update(&size.to_le_bytes())
        .update(&seen.inode.to_le_bytes())
        .update(&seen.changed_ns.to_le_bytes())
        .update(&seen.mode.to_le_bytes());
    Ok(())
}
