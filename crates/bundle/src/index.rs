//! The index: which file lies where in which frame, with a digest of everything.
//!
//! A component's files stand one after another in a *content stream*, and its frames cut that stream into pieces that
//! decode independently. So a file is a range of the stream, big files span frames and small ones share one, and neither
//! knows of the other. The stream is never built whole.
//!
//! It is JSON: at a hundred files it parses in well under a millisecond, a person can read it, and its parser is one that
//! many people fuzz. What JSON cannot say is checked by [`Index::parse`]; an index that comes out of it is sound.

use super::footer::{Footer, HEAD_LEN};
use super::{Damage, Digest, FORMAT_VERSION, MAX_COMPONENTS, TreePath};
use serde::{Deserialize, Serialize};

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

/// Everything a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The format version, again: an index cannot be put under another version's footer.
    pub format: u32,
    /// The components, in the footer's order.
    pub components: Vec<Component>,
}

/// One thing we run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version, for people. Never an identity.
    pub version: String,
    /// Its payload digest: the identity.
    pub digest: Digest,
    /// The program to run.
    pub entrypoint: TreePath,
    /// Its tree, sorted by path; a directory stands before what it holds.
    pub entries: Vec<Entry>,
    /// Its frames, in the order of the content stream.
    pub frames: Vec<Frame>,
}

/// One file, directory or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "WrittenEntry", try_from = "WrittenEntry")]
pub struct Entry {
    /// Where in the tree.
    pub path: TreePath,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// Whether it may be executed. The only permission that is kept: the rest is the store's business.
        exec: bool,
        /// Its size in bytes.
        size: u64,
        /// Where its content begins in the component's content stream; 0 for an empty file.
        at: u64,
        /// BLAKE3 of its content.
        blake3: Digest,
    },
    /// A symbolic link.
    Link {
        /// The target as written, relative to the link's directory, inside the tree.
        target: String,
    },
}

/// An entry as it is written: one flat object. Which fields stand says what it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    path: TreePath,
    kind: WrittenKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
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
        let bare = |kind| Self { path, kind, exec: None, size: None, at: None, blake3: None, target: None };
        match kind {
            EntryKind::Dir => bare(WrittenKind::Dir),
            EntryKind::File { exec, size, at, blake3 } => Self {
                exec: Some(exec),
                size: Some(size),
                at: Some(at),
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
        let kind = match (w.kind, w.exec, w.size, w.at, w.blake3, w.target) {
            (WrittenKind::Dir, None, None, None, None, None) => EntryKind::Dir,
            (WrittenKind::File, Some(exec), Some(size), Some(at), Some(blake3), None) => {
                EntryKind::File { exec, size, at, blake3 }
            }
            (WrittenKind::Link, None, None, None, None, Some(target)) => EntryKind::Link { target },
            _ => return Err(format!("`{}` has not the fields of its kind", w.path)),
        };
        Ok(Self { path: w.path, kind })
    }
}

/// One independent zstd frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Where its compressed bytes begin, relative to the bundle's start.
    pub at: u64,
    /// How many compressed bytes.
    pub len: u64,
    /// How many bytes of the content stream it decodes to.
    pub raw: u64,
    /// BLAKE3 of the compressed bytes.
    pub blake3: Digest,
}

impl Index {
    /// Parses and checks an index against the footer that names it.
    ///
    /// # Errors
    /// What is wrong with it and where; nothing of a damaged index is returned.
    pub fn parse(bytes: &[u8], footer: &Footer) -> Result<Self, Damage> {
        if bytes.len() as u64 > Limits::INDEX_LEN {
            return Err(Damage::new(format!(
                "index: {} bytes; at most {} are possible",
                bytes.len(),
                Limits::INDEX_LEN
            )));
        }
        if Digest::of(bytes) != footer.index_digest {
            return Err(Damage::new("index: its digest is not the footer's"));
        }
        let index: Self = serde_json::from_slice(bytes).map_err(|e| Damage::new(format!("index: {e}")))?;
        index.check(footer.frames_len)?;
        let named: Vec<_> = footer.slots.iter().map(|s| (s.name.as_str(), s.digest)).collect();
        let listed: Vec<_> = index.components.iter().map(|c| (c.name.as_str(), c.digest)).collect();
        if named != listed {
            return Err(Damage::new("index: its components are not the footer's"));
        }
        Ok(index)
    }

    /// Checks every rule of the format. `frames_len` is the length of all frames in bytes.
    pub(crate) fn check(&self, frames_len: u64) -> Result<(), Damage> {
        if self.format != FORMAT_VERSION {
            return Err(Damage::new(format!(
                "index: version {} under a version {FORMAT_VERSION} footer",
                self.format
            )));
        }
        if self.components.is_empty() || self.components.len() > MAX_COMPONENTS {
            return Err(Damage::new(format!("index: {} components", self.components.len())));
        }
        let mut at = HEAD_LEN as u64;
        for (i, component) in self.components.iter().enumerate() {
            if self.components[..i].iter().any(|c| c.name == component.name) {
                return Err(Damage::new(format!("index: component `{}` stands twice", component.name)));
            }
            at = component
                .check(at)
                .map_err(|d| Damage::new(format!("component `{}`: {d}", component.name)))?;
        }
        let taken = at - HEAD_LEN as u64;
        if taken != frames_len {
            return Err(Damage::new(format!(
                "index: its frames take {taken} bytes, the footer says {frames_len}"
            )));
        }
        Ok(())
    }

    /// Checks a component that stands alone, without frames: a store's manifest. Every rule of a tree holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_manifest(component: &Component) -> Result<(), Damage> {
        if !component.frames.is_empty() {
            return Err(Damage::new("a manifest has no frames"));
        }
        component.check_names()?;
        let stream = component.files().map(|(_, _, size, at, _)| at.saturating_add(size)).max();
        component.check_tree(stream.unwrap_or(0))
    }

    /// The component called `name`.
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|c| c.name == name)
    }
}

impl Component {
    /// The payload digest its entries give: BLAKE3 over path, kind, mode, size and content digest of each, in order.
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

    /// The files: path, whether executable, size, position in the content stream, digest.
    pub fn files(&self) -> impl Iterator<Item = (&TreePath, bool, u64, u64, Digest)> {
        self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File { exec, size, at, blake3 } => Some((&entry.path, *exec, *size, *at, *blake3)),
            _ => None,
        })
    }

    /// All bytes of all files.
    pub fn raw_len(&self) -> u64 {
        self.files().map(|(_, _, size, ..)| size).sum()
    }

    /// All compressed bytes.
    pub fn compressed_len(&self) -> u64 {
        self.frames.iter().map(|f| f.len).sum()
    }
}
