//! Opening a carrier: where its bundle lies, and reading from it with every byte checked.

use super::footer::{Parsed, head};
use super::{
    BundleError, Component, Damage, Digest, FOOTER_LEN, Footer, Frame, HEAD_LEN, Index, elf, macho, pe,
};
use fs_err as fs;
use memmap2::Mmap;
use object::FileKind;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The object format of a carrier, or of a binary that could become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarrierKind {
    /// Linux.
    Elf,
    /// macOS.
    MachO,
    /// Windows.
    Pe,
    /// Anything else: a script, a data file. The bundle is simply at its end.
    Plain,
}

/// A bundle found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where in the file it lies: head, frames, index and footer.
    pub range: Range<u64>,
    /// Its footer.
    pub footer: Footer,
}

/// A carrier, mapped and located. Only the footer has been read.
#[derive(Debug)]
pub struct Carrier {
    path: PathBuf,
    map: Mmap,
    located: Located,
}

impl Carrier {
    /// Opens the carrier at `path`, of whatever platform.
    ///
    /// # Errors
    /// [`BundleError::Bare`] if there is no bundle, [`BundleError::Damaged`] if there is one that is not whole.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let file = fs::File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_file() && meta.len() == 0 {
            return Err(Missing::Bare.at(path));
        }
        let map = stigmer_platform::map(file.file()).map_err(|source| named(path, "map", &source))?;
        match locate(&map) {
            Ok(located) => Ok(Self { path: path.to_owned(), map, located }),
            Err(missing) => Err(missing.at(path)),
        }
    }

    /// Finds the bundle in the bytes of a file, as [`Carrier::open`] does in a file of the name `path`.
    pub fn locate(data: &[u8], path: &Path) -> Result<Located, BundleError> {
        locate(data).map_err(|missing| missing.at(path))
    }

    /// Reads only the footer of the carrier at `path`: one read of 512 bytes unless a packager has moved the bundle.
    pub fn read_footer(path: &Path) -> Result<Footer, BundleError> {
        let mut file = File::open(path).map_err(|source| named(path, "open", &source))?;
        let mut bytes = [0; FOOTER_LEN];
        #[expect(clippy::cast_possible_wrap, reason = "512")]
        let at_end = file.seek(SeekFrom::End(-(FOOTER_LEN as i64))).and_then(|_| file.read_exact(&mut bytes));
        if let (Ok(()), Ok(Parsed::Sound(footer))) = (at_end, Footer::parse(&bytes)) {
            return Ok(footer);
        }
        Self::open(path).map(|carrier| carrier.located.footer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The footer.
    pub fn footer(&self) -> &Footer {
        &self.located.footer
    }

    /// Where in the file the bundle lies.
    pub fn range(&self) -> Range<u64> {
        self.located.range.clone()
    }

    /// The object format around the bundle.
    pub fn kind(&self) -> CarrierKind {
        kind_of(&self.map)
    }

    /// The whole file.
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

    /// Reads the index and takes the component called `name`.
    pub fn component(&self, name: &str) -> Result<Component, BundleError> {
        let mut index = self.index()?;
        let at = index.components.iter().position(|c| c.name == name);
        at.map(|at| index.components.swap_remove(at))
            .ok_or_else(|| BundleError::NoComponent { path: self.path.clone(), name: name.to_owned() })
    }

    /// The compressed bytes of a frame, unchecked.
    pub fn frame_bytes(&self, frame: &Frame) -> Result<&[u8], BundleError> {
        let range = usize::try_from(frame.at).ok().zip(usize::try_from(frame.len).ok());
        range
            .and_then(|(at, len)| self.bundle().get(at..at.checked_add(len)?))
            .ok_or_else(|| self.damaged(&format!("the frame at {} lies outside it", frame.at)))
    }

    /// Decodes a frame into `out`, which must be as long as the frame says: checks its digest first.
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
        if Digest::of(bytes) != frame.blake3 {
            return Err(self.damaged(&format!(
                "the frame at byte {} of the file does not match its digest",
                self.located.range.start + frame.at
            )));
        }
        match decoder.decompress_to_buffer(bytes, out) {
            Ok(len) if len == out.len() => Ok(()),
            Ok(len) => Err(self.damaged(&format!(
                "the frame at byte {} of the file decodes to {len} bytes and not to {}",
                self.located.range.start + frame.at,
                out.len()
            ))),
            Err(e) => Err(self.damaged(&format!(
                "the frame at byte {} of the file does not decode: {e}",
                self.located.range.start + frame.at
            ))),
        }
    }

    /// BLAKE3 of everything in the file that is not the bundle, and how many bytes that is.
    pub fn code_digest(&self) -> (Digest, u64) {
        code_digest(&self.map, &self.located.range)
    }

    fn damaged(&self, what: &str) -> BundleError {
        self.error(Damage::new(what))
    }

    /// `damage`, found in this carrier.
    pub fn error(&self, damage: Damage) -> BundleError {
        BundleError::Damaged { path: self.path.clone(), damage }
    }
}

/// BLAKE3 of what lies outside `bundle`, and its length.
pub(super) fn code_digest(file: &[u8], bundle: &Range<u64>) -> (Digest, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "positions in a mapped file fit in usize")]
    let (before, after) = (&file[..bundle.start as usize], &file[bundle.end as usize..]);
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(after);
    (hasher.finalize().into(), (before.len() + after.len()) as u64)
}

/// The object format of a file that begins with these bytes.
pub(super) fn kind_of(data: &[u8]) -> CarrierKind {
    match FileKind::parse(data) {
        Ok(FileKind::Elf32 | FileKind::Elf64) => CarrierKind::Elf,
        Ok(FileKind::MachO32 | FileKind::MachO64) => CarrierKind::MachO,
        Ok(FileKind::Pe32 | FileKind::Pe64) => CarrierKind::Pe,
        _ => CarrierKind::Plain,
    }
}

/// Why no bundle was found.
#[derive(Debug)]
enum Missing {
    Bare,
    UnknownVersion(u32),
    Damaged(Damage),
}

impl Missing {
    fn at(self, path: &Path) -> BundleError {
        let path = path.to_owned();
        match self {
            Self::Bare => BundleError::Bare { path },
            Self::UnknownVersion(found) => BundleError::UnknownVersion { path, found },
            Self::Damaged(damage) => BundleError::Damaged { path, damage },
        }
    }
}

impl From<Damage> for Missing {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// Finds the bundle: at the end of the file if it is still there, else where the object format says.
fn locate(data: &[u8]) -> Result<Located, Missing> {
    if let Some(located) = ending_at(data, data.len() as u64)? {
        return Ok(located);
    }
    match kind_of(data) {
        CarrierKind::Elf => {
            let Some(section) = elf::find(data)? else {
                return Err(Missing::Bare);
            };
            ending_at(data, section.end)?
                .filter(|located| located.range == section)
                .ok_or_else(|| Damage::new("its section does not hold a whole bundle").into())
        }
        CarrierKind::MachO => {
            let ends = macho::ends(data);
            if let Some(located) = in_front_of(data, ends.signature)? {
                return Ok(located);
            }
            cut_off(data, ends.segments)
        }
        CarrierKind::Pe => {
            let certificates = pe::certificates_at(data);
            if let Some(located) = in_front_of(data, certificates)? {
                return Ok(located);
            }
            let image_end = pe::image_end(data).unwrap_or(0);
            // A bundle begins where the image ends, so its head is there even if its end is not.
            let head_at = usize::try_from(image_end.next_multiple_of(pe::BUNDLE_ALIGN as u64));
            if head_at.is_ok_and(|at| data.get(at..).is_some_and(|rest| rest.starts_with(&head()))) {
                return Err(Damage::new("cut off: its head is there and its footer is not").into());
            }
            cut_off(data, image_end.max(certificates.unwrap_or(0)))
        }
        CarrierKind::Plain => Err(Missing::Bare),
    }
}

/// The bundle that ends where a signature begins.
fn in_front_of(data: &[u8], signature: Option<u64>) -> Result<Option<Located>, Missing> {
    let Some(signature) = signature else {
        return Ok(None);
    };
    // Signatures begin at a multiple of 8 or 16, so a few zero bytes may stand in front of them.
    for padding in 0..16 {
        let Some(end) = signature.checked_sub(padding) else {
            break;
        };
        if let Some(located) = ending_at(data, end)? {
            return Ok(Some(located));
        }
        let before = usize::try_from(end).ok().and_then(|end| end.checked_sub(1));
        if before.and_then(|at| data.get(at)) != Some(&0) {
            break;
        }
    }
    Ok(None)
}

/// There is no bundle: because there is none in a whole file, or because the file is not whole.
fn cut_off(data: &[u8], expected: u64) -> Result<Located, Missing> {
    if expected > data.len() as u64 {
        return Err(Damage::new(format!(
            "cut off: the file should have at least {expected} bytes, and has {}",
            data.len()
        ))
        .into());
    }
    Err(Missing::Bare)
}

/// The bundle that ends at `end`, or `None` if no footer ends there.
fn ending_at(data: &[u8], end: u64) -> Result<Option<Located>, Missing> {
    let footer_at = usize::try_from(end).ok().and_then(|end| end.checked_sub(FOOTER_LEN));
    let Some(bytes) = footer_at.and_then(|at| data.get(at..at + FOOTER_LEN)) else {
        return Ok(None);
    };
    let bytes: &[u8; FOOTER_LEN] = bytes.try_into().map_err(|_| Missing::Bare)?;
    let footer = match Footer::parse(bytes)? {
        Parsed::Absent => return Ok(None),
        Parsed::UnknownVersion(found) => return Err(Missing::UnknownVersion(found)),
        Parsed::Sound(footer) => footer,
    };
    let start = footer.bundle_len().and_then(|len| end.checked_sub(len)).ok_or_else(|| {
        Damage::new(format!("cut off: it should begin before the file does, {end} bytes from its end"))
    })?;
    let at = usize::try_from(start).map_err(|_| Damage::new("too large for this system"))?;
    if data.get(at..at + HEAD_LEN) != Some(&head()[..]) {
        return Err(Damage::new("its first bytes are not as written").into());
    }
    Ok(Some(Located { range: start..end, footer }))
}

/// An error of a call that does not name the path itself.
pub(super) fn named(path: &Path, action: &str, source: &io::Error) -> BundleError {
    BundleError::Io(io::Error::new(
        source.kind(),
        format!("failed to {action} `{}`: {source}", path.display()),
    ))
}
