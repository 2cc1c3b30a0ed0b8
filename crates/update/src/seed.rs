//! What is here already: the pieces of a carrier on this machine, by their digests.
//!
//! A seed is believed nothing: whatever is taken from it is hashed first. So it does not matter which version it is, whether a
//! packager has stripped it, or whether the disk has changed a byte of it; what does not match is simply not there.

use super::describe::code_cutting;
use super::recipe::{CodeMap, Recipe};
use memmap2::Mmap;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use stigmer_bundle::{Carrier, Digest};

/// A file that may hold pieces of a carrier.
#[derive(Debug)]
pub(super) struct Seed {
    map: Mmap,
    known: HashMap<Digest, Vec<Range<u64>>>,
    /// Its code part, and BLAKE3 of it, if it was looked for.
    code: Option<(CodeMap, Digest)>,
}

impl Seed {
    /// Looks into the carrier at `path`: its frames, and the chunks of its code part.
    ///
    /// # Errors
    /// It cannot be read, or is no carrier: then it is no seed.
    pub(super) fn of_carrier(path: &Path) -> io::Result<Self> {
        let carrier = Carrier::open(path).map_err(io::Error::other)?;
        let index = carrier.index().map_err(io::Error::other)?;
        let mut frames: Vec<_> = index.components.iter().flat_map(|component| &component.frames).collect();
        frames.sort_by_key(|frame| frame.offset);
        let mut known = HashMap::new();
        let mut code = CodeMap::default();
        let mut at = 0;
        for frame in frames {
            let range = carrier.frame_range(frame);
            code.add(at..range.start);
            at = range.end;
            known.insert(frame.blake3, vec![range]);
        }
        let map = map(path)?;
        code.add(at..map.len() as u64);
        // All of it at once: a few megabytes, and the cuts depend on what stands around them.
        let whole = code_of(&map, &code).ok_or_else(|| io::Error::other("its frames lie outside it"))?;
        let mut raw = 0;
        for chunk in code_cutting(1).pieces(&whole[..]) {
            let chunk = chunk?;
            let end = raw + chunk.len() as u64;
            known.insert(Digest::of(&chunk), code.find(raw..end));
            raw = end;
        }
        let digest = Digest::of(&whole);
        Ok(Self { map, known, code: Some((code, digest)) })
    }

    /// BLAKE3 of its code part, if it is a carrier.
    pub(super) fn code_digest(&self) -> Option<Digest> {
        self.code.as_ref().map(|(_, digest)| *digest)
    }

    /// Its code part, if it still is what it was.
    pub(super) fn code_part(&self) -> Option<Vec<u8>> {
        let (code, digest) = self.code.as_ref()?;
        code_of(&self.map, code).filter(|bytes| Digest::of(bytes) == *digest)
    }

    /// Takes the file at `path` for the carrier that `recipe` describes, whole or not.
    pub(super) fn by_recipe(path: &Path, recipe: &Recipe) -> io::Result<Self> {
        let map = map(path)?;
        let known = recipe
            .pieces
            .iter()
            .filter_map(|piece| Some((piece.digest, piece.places.first()?.clone())))
            .collect();
        Ok(Self { map, known, code: None })
    }

    /// The bytes that have this digest; `None` if they are not here, or are not what they should be.
    pub(super) fn find(&self, digest: Digest) -> Option<Cow<'_, [u8]>> {
        let bytes = match &self.known.get(&digest)?[..] {
            [range] => Cow::Borrowed(bytes_at(&self.map, range)?),
            ranges => {
                let parts: Option<Vec<&[u8]>> =
                    ranges.iter().map(|range| bytes_at(&self.map, range)).collect();
                Cow::Owned(parts?.concat())
            }
        };
        (Digest::of(&bytes) == digest).then_some(bytes)
    }
}

/// The bytes of a code part, together.
fn code_of(map: &[u8], code: &CodeMap) -> Option<Vec<u8>> {
    let parts: Option<Vec<&[u8]>> = code.places().map(|place| bytes_at(map, &place)).collect();
    Some(parts?.concat())
}

fn bytes_at<'a>(map: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    map.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = fs_err::File::open(path)?;
    stigmer_platform::map(file.file())
        .map_err(|error| io::Error::new(error.kind(), format!("failed to map `{}`: {error}", path.display())))
}
