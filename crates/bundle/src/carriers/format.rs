//! What an object format must provide so that its files can carry a bundle.

use crate::locate::{Located, Missing};
use object::{Architecture, Object};

/// The kind of a carrier: the name of its object format and what the format requires of a packer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarrierKind {
    /// Name of the format, for people and for JSON output, such as `ELF`.
    pub name: &'static str,
    /// Whether nothing changes the code part after packing, so that its digest can be recorded. False where a
    /// signature follows.
    pub is_code_final: bool,
    /// Whether the operating system runs no carrier of this kind without a signature.
    pub must_be_signed: bool,
}

/// An object format that can carry a bundle.
pub(crate) trait CarrierFormat: Sync {
    /// Name and properties of the format.
    fn kind(&self) -> CarrierKind;

    /// Whether a file with these bytes has this format.
    fn detect(&self, data: &[u8]) -> bool;

    /// Whether a program of this format, with these bytes, runs on this operating system and processor.
    fn is_native(&self, data: &[u8]) -> bool;

    /// Finds a bundle that does not end at the end of the file, where a reader looks first.
    ///
    /// # Errors
    /// There is no bundle, or it is damaged.
    fn locate(&self, data: &[u8]) -> Result<Located, Missing>;

    /// Prepares the bare binary `base` to be followed by a bundle of `bundle_len` bytes. With an `identifier`, a
    /// format that can be signed without a certificate is to be signed under that name.
    ///
    /// # Errors
    /// The reason why `base` cannot carry a bundle.
    fn prepare<'a>(
        &self,
        base: &[u8],
        bundle_len: u64,
        identifier: Option<&'a str>,
    ) -> Result<Prepared<'a>, String>;
}

/// What [`CarrierFormat::prepare`] makes of a bare binary.
pub(crate) struct Prepared<'a> {
    /// The bytes in front of the bundle.
    pub(crate) code: Vec<u8>,
    /// How to seal the carrier, if its format is to be sealed.
    pub(crate) seal: Option<Seal<'a>>,
}

/// Takes everything up to the end of the bundle, and returns the bytes that follow it, such as a signature.
pub(crate) type Seal<'a> = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + 'a>;

impl Prepared<'_> {
    /// A carrier to which nothing is added behind the bundle.
    pub(crate) fn unsealed(code: Vec<u8>) -> Self {
        Self { code, seal: None }
    }
}

/// Appends zero bytes up to the next multiple of `align`.
pub(crate) fn pad(out: &mut Vec<u8>, align: usize) {
    out.resize(out.len().next_multiple_of(align), 0);
}

/// Whether the object file is for the processor that this program runs on.
pub(crate) fn is_for_this_processor(data: &[u8]) -> bool {
    let architecture = object::File::parse(data).map(|object| object.architecture());
    match architecture {
        Ok(Architecture::X86_64) => cfg!(target_arch = "x86_64"),
        Ok(Architecture::Aarch64) => cfg!(target_arch = "aarch64"),
        _ => false,
    }
}
