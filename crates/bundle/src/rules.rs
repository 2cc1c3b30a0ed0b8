//! The rules of the index that its types cannot say: what makes a list of entries a tree, and frames a stream.
//!
//! The packer calls the same functions as the reader, so it cannot write an index that the reader refuses.

use crate::digest::Digest;
use crate::error::Damage;
use crate::footer::{FORMAT_VERSION, Footer, HEAD_LEN, MAX_COMPONENTS, is_component_name};
use crate::index::{Component, Entry, EntryKind, Index, Limits};
use crate::offset::{BundleOffset, ContentOffset};
use crate::tree_path::TreePath;
use std::collections::{BTreeMap, HashMap};

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
        let start = BundleOffset::new(HEAD_LEN as u64);
        let mut end = start;
        for (i, component) in self.components.iter().enumerate() {
            if self.components[..i].iter().any(|c| c.name == component.name) {
                return Err(Damage::new(format!("index: component `{}` stands twice", component.name)));
            }
            end = component
                .check(end)
                .map_err(|d| Damage::new(format!("component `{}`: {d}", component.name)))?;
        }
        let taken = end - start;
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
        let stream = component.files().map(|file| file.range().end.get()).max();
        component.check_tree(stream.unwrap_or(0))
    }
}

impl Component {
    /// Checks the component, whose first frame must begin at `start`. Returns where its last one ends.
    fn check(&self, start: BundleOffset) -> Result<BundleOffset, Damage> {
        self.check_names()?;
        let (end, stream) = self.check_frames(start)?;
        self.check_tree(stream)?;
        Ok(end)
    }

    fn check_names(&self) -> Result<(), Damage> {
        if !is_component_name(&self.name) {
            return Err(Damage::new("its name is not a component name"));
        }
        if !is_version(&self.version) {
            return Err(Damage::new("its version is not 1 to 64 printable characters"));
        }
        if self.entries.len() > Limits::ENTRIES || self.frames.len() > Limits::FRAMES {
            return Err(Damage::new("it has too many entries or frames"));
        }
        Ok(())
    }

    /// Checks the frames. Returns where the last one ends, and the length of the content stream.
    fn check_frames(&self, start: BundleOffset) -> Result<(BundleOffset, u64), Damage> {
        let mut end = start;
        let mut stream = 0_u64;
        for (i, frame) in self.frames.iter().enumerate() {
            if frame.offset != end {
                return Err(Damage::new(format!("frame {i} begins at {} and not at {end}", frame.offset)));
            }
            if frame.raw == 0 || frame.raw > Limits::FRAME_RAW || frame.len == 0 {
                return Err(Damage::new(format!("frame {i} has an impossible size")));
            }
            end = end
                .checked_add(frame.len)
                .ok_or_else(|| Damage::new(format!("frame {i} ends beyond 64 bits")))?;
            stream += frame.raw;
        }
        Ok((end, stream))
    }

    fn check_tree(&self, stream: u64) -> Result<(), Damage> {
        let mut kinds: BTreeMap<&str, &EntryKind> = BTreeMap::new();
        let mut folded = HashMap::with_capacity(self.entries.len());
        let mut last: Option<&TreePath> = None;
        let mut total = 0_u64;
        for Entry { path, kind } in &self.entries {
            if last.is_some_and(|last| last >= path) {
                return Err(Damage::new(format!("`{path}` is a duplicate or not in order")));
            }
            last = Some(path);
            if let Some(other) = folded.insert(path.folded(), path) {
                return Err(Damage::new(format!("`{path}` and `{other}` differ only in case")));
            }
            let parent = path.parent();
            if parent.is_some_and(|parent| !matches!(kinds.get(parent.as_str()), Some(EntryKind::Dir))) {
                return Err(Damage::new(format!(
                    "`{path}` lies in something that is not a listed directory"
                )));
            }
            if let EntryKind::File { size, offset, .. } = kind {
                let end = offset.checked_add(*size).filter(|end| end.get() <= stream);
                if end.is_none() || (*size == 0 && *offset != ContentOffset::ZERO) {
                    return Err(Damage::new(format!("the content of `{path}` lies outside the frames")));
                }
                total = total.saturating_add(*size);
            }
            kinds.insert(path.as_str(), kind);
        }
        if total > Limits::COMPONENT_RAW {
            return Err(Damage::new(format!(
                "its files take {total} bytes; at most {} are possible",
                Limits::COMPONENT_RAW
            )));
        }
        self.check_contents(stream)?;
        for Entry { path, kind } in &self.entries {
            if let EntryKind::Link { target } = kind {
                check_link(path, target, &kinds)?;
            }
        }
        if !matches!(kinds.get(self.entrypoint.as_str()), Some(EntryKind::File { exec: true, .. })) {
            return Err(Damage::new(format!(
                "its entrypoint `{}` is not an executable file of its tree",
                self.entrypoint
            )));
        }
        if self.payload_digest() != self.digest {
            return Err(Damage::new("its entries do not give its payload digest"));
        }
        Ok(())
    }

    /// Checks that the contents follow one another without gap or overlap and fill the stream, and that only equal files share
    /// one. So every decoded byte is used, and a small bundle cannot demand unbounded work.
    fn check_contents(&self, stream: u64) -> Result<(), Damage> {
        let mut contents: Vec<(ContentOffset, u64, Digest, &TreePath)> = self
            .files()
            .filter(|file| file.size != 0)
            .map(|file| (file.offset, file.size, file.digest, file.path))
            .collect();
        contents.sort_unstable();
        let mut end = ContentOffset::ZERO;
        let mut last = None;
        for (offset, size, digest, path) in contents {
            if last == Some((offset, size, digest)) {
                continue;
            }
            last = Some((offset, size, digest));
            if offset != end {
                return Err(Damage::new(format!(
                    "the content of `{path}` overlaps another, or leaves a gap"
                )));
            }
            end = offset.saturating_add(size);
        }
        if end.get() == stream {
            Ok(())
        } else {
            Err(Damage::new(format!("its files fill {end} bytes of the {stream} in its frames")))
        }
    }
}

/// Whether `text` can be a component's version.
pub(super) fn is_version(text: &str) -> bool {
    (1..=Limits::VERSION_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A link must lead to a file or directory of the tree, without a cycle and without passing through another link.
pub(super) fn check_link(
    path: &TreePath,
    target: &str,
    kinds: &BTreeMap<&str, &EntryKind>,
) -> Result<(), Damage> {
    if target.len() > Limits::LINK_LEN {
        return Err(Damage::new(format!("the link `{path}` is too long")));
    }
    let mut seen = path.clone();
    let mut target = target;
    // Longer chains than this are not found in real trees; a cycle runs out of steps.
    for _ in 0..8 {
        let resolved =
            seen.resolve_link(target).map_err(|e| Damage::new(format!("the link `{path}`: {e}")))?;
        match kinds.get(resolved.as_str()) {
            Some(EntryKind::Link { target: next }) => {
                target = next;
                seen = resolved;
            }
            Some(_) => return Ok(()),
            None => {
                return Err(Damage::new(format!("the link `{path}` leads to nothing in its tree")));
            }
        }
    }
    Err(Damage::new(format!("the link `{path}` is part of a cycle")))
}
