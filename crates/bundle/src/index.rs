//! The index: which file lies where in which frame, with a digest of everything.
//!
//! A component's files stand one after another in a *content stream*, and its frames cut that stream into pieces that
//! decode independently. So a file is a range of the stream, big files span frames and small ones share one, and neither
//! knows of the other. The stream is never built whole.
//!
//! It is JSON: at a hundred files it parses in well under a millisecond, a person can read it, and its parser is one that
//! many people fuzz. What JSON cannot express is checked by [`Index::parse`]: an index that it returns is sound.

use crate::digest::Digest;
use crate::offset::{BundleOffset, ContentOffset};
use crate::tree_path::TreePath;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Hard limits of format version 1. A bundle beyond them is refused at pack and at read.
#[derive(Debug, Clone, Copy)]
pub struct Limits;

impl Limits {
    /// Longest index in bytes.
    pub const INDEX_LEN: u64 = 64 << 20;
    /// Most entries of one component.
    pub const ENTRIES: usize = 200_000;
    /// Most frames of one component.
    pub const FRAMES: usize = 200_000;
    /// Largest decoded frame in bytes. Bounds the memory a reader needs.
    pub const FRAME_RAW: u64 = 16 << 20;
    /// Largest component, all files together, in bytes.
    pub const COMPONENT_RAW: u64 = 64 << 30;
    /// Longest version text in bytes.
    pub const VERSION_LEN: usize = 64;
    /// Longest link target in bytes.
    pub const LINK_LEN: usize = 1024;
}

/// The list of everything in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The format version, again: an index cannot be put under another version's footer.
    pub format: u32,
    /// The components, in the footer's order.
    pub components: Vec<Component>,
}

/// A program with its file tree: the unit that is extracted and run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Name of the component.
    pub name: String,
    /// Version of the component, for people. Never an identity.
    pub version: String,
    /// Payload digest of the component: its identity.
    pub digest: Digest,
    /// Path of the program to run.
    pub entrypoint: TreePath,
    /// Entries of the tree, sorted by path; a directory precedes its contents.
    pub entries: Vec<Entry>,
    /// Frames of the component, in the order of its content stream.
    pub frames: Vec<Frame>,
}

/// One file, directory or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "WrittenEntry", try_from = "WrittenEntry")]
pub struct Entry {
    /// Path of the entry in the tree.
    pub path: TreePath,
    /// Kind of the entry, with the properties of that kind.
    pub kind: EntryKind,
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// Whether the file may be executed. No other permission is recorded.
        exec: bool,
        /// Size of the file in bytes.
        size: u64,
        /// Where its content begins in the component's content stream; 0 for an empty file.
        offset: ContentOffset,
        /// BLAKE3 of the content.
        blake3: Digest,
    },
    /// A symbolic link.
    Link {
        /// Target as written: relative to the link's directory, and inside the tree.
        target: String,
    },
}

/// An entry in its serialized form: one flat object whose fields depend on the kind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    path: TreePath,
    kind: WrittenKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, rename = "at", skip_serializing_if = "Option::is_none")]
    offset: Option<ContentOffset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenKind {
    Dir,
    File,
    Link,
}

impl From<Entry> for WrittenEntry {
    fn from(Entry { path, kind }: Entry) -> Self {
        let bare =
            |kind| Self { path, kind, exec: None, size: None, offset: None, blake3: None, target: None };
        match kind {
            EntryKind::Dir => bare(WrittenKind::Dir),
            EntryKind::File { exec, size, offset, blake3 } => Self {
                exec: Some(exec),
                size: Some(size),
                offset: Some(offset),
                blake3: Some(blake3),
                ..bare(WrittenKind::File)
            },
            EntryKind::Link { target } => Self { target: Some(target), ..bare(WrittenKind::Link) },
        }
    }
}

impl TryFrom<WrittenEntry> for Entry {
    type Error = String;

    fn try_from(w: WrittenEntry) -> Result<Self, String> {
        let kind = match (w.kind, w.exec, w.size, w.offset, w.blake3, w.target) {
            (WrittenKind::Dir, None, None, None, None, None) => EntryKind::Dir,
            (WrittenKind::File, Some(exec), Some(size), Some(offset), Some(blake3), None) => {
                EntryKind::File { exec, size, offset, blake3 }
            }
            (WrittenKind::Link, None, None, None, None, Some(target)) => EntryKind::Link { target },
            _ => return Err(format!("`{}` does not have the fields of its kind", w.path)),
        };
        Ok(Self { path: w.path, kind })
    }
}

/// A file of a component's tree, as [`Component::files`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEntry<'a> {
    /// Path of the file in the tree.
    pub path: &'a TreePath,
    /// Whether the file may be executed.
    pub is_executable: bool,
    /// Size of the file in bytes.
    pub size: u64,
    /// Where the content begins in the component's content stream.
    pub offset: ContentOffset,
    /// BLAKE3 of the content.
    pub digest: Digest,
}

impl FileEntry<'_> {
    /// The part of the content stream that is the file's content.
    pub fn range(&self) -> Range<ContentOffset> {
        // Within a checked index no sum exceeds 64 bits.
        self.offset..self.offset.saturating_add(self.size)
    }
}

/// One independent zstd frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Where the compressed bytes begin in the bundle.
    #[serde(rename = "at")]
    pub offset: BundleOffset,
    /// Length of the compressed bytes.
    pub len: u64,
    /// Length of the part of the content stream that the frame decodes to.
    pub raw: u64,
    /// BLAKE3 of the compressed bytes.
    pub blake3: Digest,
}

impl Index {
    /// The component called `name`.
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|c| c.name == name)
    }
}

impl Component {
    /// The payload digest that the entries give: BLAKE3 over path, kind, mode, size and content digest of each, in order.
    /// It does not depend on frames or compression.
    pub fn payload_digest(&self) -> Digest {
        let mut hasher =
            blake3::Hasher::new_derive_key("stigmer payload v1: path, kind, mode, size, content");
        for Entry { path, kind } in &self.entries {
            let path = path.as_str().as_bytes();
            hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
            match kind {
                EntryKind::Dir => hasher.update(b"d"),
                EntryKind::File { exec, size, blake3, .. } => hasher
                    .update(if *exec { b"x" } else { b"f" })
                    .update(&size.to_le_bytes())
                    .update(blake3.as_bytes()),
                EntryKind::Link { target } => {
                    hasher.update(b"l").update(&(target.len() as u64).to_le_bytes()).update(target.as_bytes())
                }
            };
        }
        hasher.finalize().into()
    }

    /// The files of the tree, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = FileEntry<'_>> {
        self.entries.iter().filter_map(|entry| match entry.kind {
            EntryKind::File { exec, size, offset, blake3 } => {
                Some(FileEntry { path: &entry.path, is_executable: exec, size, offset, digest: blake3 })
            }
            _ => None,
        })
    }

    /// The file at `path`, or `None` if there is no entry or it is not a file.
    pub fn file(&self, path: &TreePath) -> Option<FileEntry<'_>> {
        self.files().find(|file| file.path == path)
    }

    /// Sum of the sizes of all files in bytes.
    pub fn raw_len(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    /// Sum of the lengths of all compressed frames in bytes.
    pub fn compressed_len(&self) -> u64 {
        self.frames.iter().map(|f| f.len).sum()
    }
}
