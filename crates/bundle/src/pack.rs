//! Packing: a bare binary and some trees become a carrier.
//!
//! The same input gives the same bytes on any host: the walk is sorted, of the permissions only "executable" is kept, and
//! no time, owner or thread count finds its way into the output. What is written is read back before it gets its name.

use crate::carrier::Carrier;
use crate::carriers::{CarrierKind, Prepared, format_of};
use crate::cut::{Compressed, Cutting};
use crate::digest::Digest;
use crate::error::{BundleError, Damage};
use crate::extract::beside;
use crate::footer::{FOOTER_LEN, FORMAT_VERSION, Footer, HEAD_LEN, MAX_COMPONENTS, Slot, head};
use crate::index::{Component, Frame, Index, Limits};
use crate::offset::BundleOffset;
use crate::scan::{self, Tree, arrange};
use crate::self_check::{self, SelfCheck};
use crate::stream::Stream;
use crate::verify::CodePart;
use fs_err as fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use stigmer_platform as platform;

/// A bundle's length is a multiple of this. Head and footer are.
const BUNDLE_ALIGN: u64 = 16;

/// A request to pack components onto a bare binary.
#[derive(Debug)]
pub struct Packing<'a> {
    /// Path of the bare binary.
    pub base: &'a Path,
    /// Name and directory of each component.
    pub components: &'a [(String, PathBuf)],
    /// Path of the carrier to write; an existing file is replaced.
    pub out: &'a Path,
    /// How the trees are cut and compressed.
    pub cutting: Cutting,
    /// Whether each component must pass its own check first.
    pub self_check: bool,
    /// Name under which a Mach-O carrier is signed ad hoc; without one it is not signed. Other kinds are signed afterwards.
    pub identifier: Option<&'a str>,
}

/// The result of [`Packing::run`].
#[derive(Debug)]
pub struct Packed {
    /// Object format of the carrier.
    pub kind: CarrierKind,
    /// Size of the carrier in bytes.
    pub size: u64,
    /// Index of the bundle.
    pub index: Index,
    /// Outcome of each component's self-check.
    pub self_checks: Vec<SelfCheck>,
    /// Whether the carrier was signed.
    pub signed: bool,
}

impl Packing<'_> {
    /// Packs the components and writes the carrier.
    ///
    /// # Errors
    /// [`BundleError::Refused`] says which path is at fault and why. Nothing is left behind.
    pub fn run(&self) -> Result<Packed, BundleError> {
        let base = self.read_base()?;
        if self.components.is_empty() || self.components.len() > MAX_COMPONENTS {
            return Err(self.refuse_base(format!(
                "{} components should go with it; 1 to {MAX_COMPONENTS} can",
                self.components.len()
            )));
        }
        scan::check_distinct(self.components)?;
        let mut trees = Vec::new();
        let mut self_checks = Vec::new();
        for (name, dir) in self.components {
            let tree = scan::scan(name, dir)?;
            self_checks.push(if self.self_check {
                self_check::run(dir, &tree.manifest)?
            } else {
                SelfCheck::NotWanted
            });
            trees.push(tree);
        }
        let mut frames = Vec::new();
        let start = BundleOffset::new(HEAD_LEN as u64);
        let mut end = start;
        let mut components = Vec::new();
        for tree in trees {
            components.push(self.component(tree, &mut end, &mut frames)?);
        }
        let index = Index { format: FORMAT_VERSION, components };
        // The rules are checked once more, by the functions of the reader.
        index.check(end - start).map_err(|damage| self.refuse_base(damage.to_string()))?;
        let (size, signed) = self.write(&base, &index, &frames)?;
        Ok(Packed { kind: format_of(&base).kind(), size, index, self_checks, signed })
    }

    fn read_base(&self) -> Result<Vec<u8>, BundleError> {
        let base = fs::read(self.base)?;
        if base.is_empty() {
            return Err(self.refuse_base("it is empty"));
        }
        match Carrier::open(self.base) {
            Err(BundleError::Bare { .. }) => Ok(base),
            Err(BundleError::Io(e)) => Err(e.into()),
            Err(BundleError::Damaged { damage, .. }) => Err(self.refuse_base(damage.to_string())),
            _ => Err(self.refuse_base("it carries a bundle already; pack onto the bare binary")),
        }
    }

    fn refuse_base(&self, reason: impl Into<String>) -> BundleError {
        BundleError::Refused { path: self.base.to_owned(), reason: reason.into() }
    }

    fn component(
        &self,
        mut tree: Tree,
        end: &mut BundleOffset,
        frames: &mut Vec<Compressed>,
    ) -> Result<Component, BundleError> {
        let files = arrange(&mut tree.entries);
        let cut = self.cutting.frames(Stream::new(&tree.root, files))?;
        let listed = cut
            .iter()
            .map(|frame| {
                let len = frame.bytes.len() as u64;
                let offset = *end;
                *end = offset + len;
                Frame { offset, len, raw: frame.raw, blake3: frame.blake3 }
            })
            .collect();
        frames.extend(cut);
        let mut component = Component {
            name: tree.manifest.name,
            version: tree.manifest.version,
            digest: Digest::NONE,
            entrypoint: tree.manifest.entrypoint,
            entries: tree.entries,
            frames: listed,
        };
        component.digest = component.payload_digest();
        Ok(component)
    }

    /// Writes the carrier beside its place, reads it back, and moves it there. Returns its size, and whether it is signed.
    fn write(&self, base: &[u8], index: &Index, frames: &[Compressed]) -> Result<(u64, bool), BundleError> {
        let frames_len: u64 = frames.iter().map(|frame| frame.bytes.len() as u64).sum();
        let mut index_bytes = serde_json::to_vec(index).map_err(std::io::Error::from)?;
        // Line ends fill the index up, so that the bundle's length is a multiple of 16: an ELF note and the signatures
        // of the other carriers want that of whatever stands in front of them.
        while !(frames_len + index_bytes.len() as u64).is_multiple_of(BUNDLE_ALIGN) {
            index_bytes.push(b'\n');
        }
        if index_bytes.len() as u64 > Limits::INDEX_LEN {
            return Err(self.refuse_base(format!("the index would take {} bytes", index_bytes.len())));
        }
        let mut footer = Footer {
            frames_len,
            index_len: index_bytes.len() as u64,
            index_digest: Digest::of(&index_bytes),
            code_len: 0,
            code_digest: Digest::NONE,
            slots: index.components.iter().map(|c| Slot { name: c.name.clone(), digest: c.digest }).collect(),
        };
        let bundle_len = frames_len + (HEAD_LEN + index_bytes.len() + FOOTER_LEN) as u64;
        let format = format_of(base);
        let Prepared { code, seal } =
            format.prepare(base, bundle_len, self.identifier).map_err(|reason| self.refuse_base(reason))?;
        if format.kind().is_code_final {
            footer.code_len = code.len() as u64;
            footer.code_digest = Digest::of(&code);
        }
        let mut file = tempfile::Builder::new().prefix(".tmp-pack-").tempfile_in(beside(self.out))?;
        file.write_all(&code)?;
        file.write_all(&head())?;
        for frame in frames {
            file.write_all(&frame.bytes)?;
        }
        file.write_all(&index_bytes)?;
        file.write_all(&footer.to_bytes())?;
        let mut size = code.len() as u64 + bundle_len;
        if let Some(seal) = &seal {
            let map = platform::map(file.as_file())
                .map_err(|source| BundleError::io(file.path(), "map", &source))?;
            let sealed = seal(&map).map_err(|reason| self.refuse_base(reason))?;
            drop(map);
            size += sealed.len() as u64;
            file.write_all(&sealed)?;
        }
        file.as_file().sync_all()?;
        let written = Carrier::open(file.path())?;
        let sound = written.footer() == &footer && written.index()? == *index;
        if !sound || !written.verify()?.problems.is_empty() || written.code_part() == CodePart::Changed {
            return Err(written.error(Damage::new("it does not read back as it was written")));
        }
        drop(written);
        platform::set_mode(file.path(), 0o755)
            .map_err(|e| BundleError::io(file.path(), "make executable", &e))?;
        file.persist(self.out).map_err(|e| BundleError::io(self.out, "write", &e.error))?;
        Ok((size, seal.is_some()))
    }
}
