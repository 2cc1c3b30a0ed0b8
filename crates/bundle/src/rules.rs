//! The rules of the index that its types cannot say: what makes a list of entries a tree, and frames a stream.
//!
//! The packer asks the same functions as the reader, so nothing is written that would not be read.

use super::footer::is_component_name;
use super::{Component, Damage, Digest, Entry, EntryKind, Limits, TreePath};
use std::collections::{BTreeMap, HashMap};

impl Component {
    /// Checks the component; `at` is where its first frame must begin. Returns where its last one ends.
    pub(super) fn check(&self, at: u64) -> Result<u64, Damage> {
        self.check_names()?;
        let (end, stream) = self.check_frames(at)?;
        self.check_tree(stream)?;
        Ok(end)
    }

    pub(super) fn check_names(&self) -> Result<(), Damage> {
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

    fn check_frames(&self, mut at: u64) -> Result<(u64, u64), Damage> {
        let mut stream = 0_u64;
        for (i, frame) in self.frames.iter().enumerate() {
            if frame.at != at {
                return Err(Damage::new(format!("frame {i} begins at {} and not at {at}", frame.at)));
            }
            if frame.raw == 0 || frame.raw > Limits::FRAME_RAW || frame.len == 0 {
                return Err(Damage::new(format!("frame {i} has an impossible size")));
            }
            at = at
                .checked_add(frame.len)
                .ok_or_else(|| Damage::new(format!("frame {i} ends beyond 64 bits")))?;
            stream += frame.raw;
        }
        Ok((at, stream))
    }

    pub(super) fn check_tree(&self, stream: u64) -> Result<(), Damage> {
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
            if let EntryKind::File { size, at, .. } = kind {
                let end = at.checked_add(*size).filter(|end| *end <= stream);
                if end.is_none() || (*size == 0 && *at != 0) {
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

    /// The contents follow one another without gap or overlap and fill the stream; files share one only if they are equal.
    /// So no byte is decoded for nothing, and no small bundle can ask for endless work.
    fn check_contents(&self, stream: u64) -> Result<(), Damage> {
        let mut contents: Vec<(u64, u64, Digest, &TreePath)> = self
            .files()
            .filter(|(_, _, size, ..)| *size != 0)
            .map(|(path, _, size, at, blake3)| (at, size, blake3, path))
            .collect();
        contents.sort_unstable();
        let mut end = 0;
        let mut last = None;
        for (at, size, blake3, path) in contents {
            if last == Some((at, size, blake3)) {
                continue;
            }
            last = Some((at, size, blake3));
            if at != end {
                return Err(Damage::new(format!(
                    "the content of `{path}` overlaps another, or leaves a gap"
                )));
            }
            end = at.saturating_add(size);
        }
        if end == stream {
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
