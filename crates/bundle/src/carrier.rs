//! Opening a carrier: where its bundle lies, and reading from it with every byte checked.

use crate::carriers::{CarrierKind, format_of};
use crate::digest::Digest;
use crate::error::{BundleError, Damage};
use crate::footer::{FOOTER_LEN, Footer, Parsed};
use crate::index::{Component, Frame, Index};
use crate::locate::{Located, Missing, ending_at};
use fs_err as fs;
use memmap2::Mmap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An open carrier: the file is mapped and its bundle located. Only the footer has been read.
#[derive(Debug)]
pub struct Carrier {
    path: PathBuf,
    map: Mmap,
    located: Located,
}

impl Carrier {
    /// Opens the carrier at `path`, for whatever system it was built.
    ///
    /// # Errors
    /// [`BundleError::Bare`] if there is no bundle, [`BundleError::Damaged`] if there is one that is not whole.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let file = fs::File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_file() && meta.len() == 0 {
            return Err(Missing::Bare.at(path));
        }
        let map =
            stigmer_platform::map(file.file()).map_err(|source| BundleError::io(path, "map", &source))?;
        match locate(&map) {
            Ok(located) => Ok(Self { path: path.to_owned(), map, located }),
            Err(missing) => Err(missing.at(path)),
        }
    }

    /// Finds the bundle in the bytes of a file, as [`Carrier::open`] does. Errors name the file `path`.
    pub fn locate(data: &[u8], path: &Path) -> Result<Located, BundleError> {
        locate(data).map_err(|missing| missing.at(path))
    }

    /// Reads only the footer of the carrier at `path`: one read of 512 bytes unless a packager has moved the bundle.
    pub fn read_footer(path: &Path) -> Result<Footer, BundleError> {
        let mut file = File::open(path).map_err(|source| BundleError::io(path, "open", &source))?;
        let mut bytes = [0; FOOTER_LEN];
        #[expect(clippy::cast_possible_wrap, reason = "512")]
        let at_end = file.seek(SeekFrom::End(-(FOOTER_LEN as i64))).and_then(|_| file.read_exact(&mut bytes));
        if let (Ok(()), Ok(Parsed::Sound(footer))) = (at_end, Footer::parse(&bytes)) {
            return Ok(footer);
        }
        Self::open(path).map(|carrier| carrier.located.footer)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Footer of the bundle.
    pub fn footer(&self) -> &Footer {
        &self.located.footer
    }

    /// Where the bundle lies in the file.
    pub fn range(&self) -> Range<u64> {
        self.located.range.clone()
    }

    /// Object format of the file.
    pub fn kind(&self) -> CarrierKind {
        format_of(&self.map).kind()
    }

    /// All bytes of the file, including the bundle.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn bundle(&self) -> &[u8] {
        // In bounds: `locate` took the range from the length of this very map.
        #[expect(clippy::cast_possible_truncation, reason = "positions in a mapped file fit in usize")]
        &self.map[self.located.range.start as usize..self.located.range.end as usize]
    }

    /// Reads and checks the index.
    pub fn index(&self) -> Result<Index, BundleError> {
        let bundle = self.bundle();
        let end = bundle.len() - FOOTER_LEN;
        // In bounds: `locate` checked that the parts add up to the range.
        let start =
            end - usize::try_from(self.footer().index_len).map_err(|_| self.damaged("index: too long"))?;
        Index::parse(&bundle[start..end], self.footer()).map_err(|damage| self.error(damage))
    }

    /// Reads and checks the index, and returns the component called `name`.
    pub fn component(&self, name: &str) -> Result<Component, BundleError> {
        let mut index = self.index()?;
        let at = index.components.iter().position(|c| c.name == name);
        at.map(|at| index.components.swap_remove(at))
            .ok_or_else(|| BundleError::NoComponent { path: self.path.clone(), name: name.to_owned() })
    }

    /// Where the compressed bytes of a frame lie in the file.
    pub fn frame_range(&self, frame: &Frame) -> Range<u64> {
        // Within a checked index no sum exceeds 64 bits.
        let start = self.located.range.start.saturating_add(frame.offset.get());
        start..start.saturating_add(frame.len)
    }

    /// The compressed bytes of a frame, unchecked.
    pub fn frame_bytes(&self, frame: &Frame) -> Result<&[u8], BundleError> {
        let range = usize::try_from(frame.offset.get()).ok().zip(usize::try_from(frame.len).ok());
        range
            .and_then(|(start, len)| self.bundle().get(start..start.checked_add(len)?))
            .ok_or_else(|| self.damaged(&format!("the frame at {} lies outside it", frame.offset)))
    }

    /// Decodes a frame into `out`, whose length must be [`Frame::raw`], after checking the frame's digest.
    ///
    /// # Errors
    /// [`BundleError::Damaged`], naming the frame's place in the file.
    pub fn decode(
        &self,
        frame: &Frame,
        decoder: &mut zstd::bulk::Decompressor<'_>,
        out: &mut [u8],
    ) -> Result<(), BundleError> {
        let bytes = self.frame_bytes(frame)?;
        let damaged = |what: String| {
            let start = self.frame_range(frame).start;
            self.damaged(&format!("the frame at byte {start} of the file {what}"))
        };
        if Digest::of(bytes) != frame.blake3 {
            return Err(damaged("does not match its digest".to_owned()));
        }
        match decoder.decompress_to_buffer(bytes, out) {
            Ok(len) if len == out.len() => Ok(()),
            Ok(len) => Err(damaged(format!("decodes to {len} bytes and not to {}", out.len()))),
            Err(e) => Err(damaged(format!("does not decode: {e}"))),
        }
    }

    /// BLAKE3 of everything in the file outside the bundle, and the number of these bytes.
    pub fn code_digest(&self) -> (Digest, u64) {
        let bundle = &self.located.range;
        #[expect(clippy::cast_possible_truncation, reason = "positions in a mapped file fit in usize")]
        let (before, after) = (&self.map[..bundle.start as usize], &self.map[bundle.end as usize..]);
        let mut hasher = blake3::Hasher::new();
        hasher.update(before).update(after);
        (hasher.finalize().into(), (before.len() + after.len()) as u64)
    }

    fn damaged(&self, what: &str) -> BundleError {
        self.error(Damage::new(what))
    }

    /// The error that says that this carrier has `damage`.
    pub fn error(&self, damage: Damage) -> BundleError {
        BundleError::Damaged { path: self.path.clone(), damage }
    }
}

/// Finds the bundle: at the end of the file if it is still there, else where the object format says.
fn locate(data: &[u8]) -> Result<Located, Missing> {
    match ending_at(data, data.len() as u64)? {
        Some(located) => Ok(located),
        None => format_of(data).locate(data),
    }
}
