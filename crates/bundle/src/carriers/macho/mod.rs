//! The Mach-O carrier, of macOS: the bundle lies at the end of `__LINKEDIT`, in front of the code signature.
//!
//! macOS runs no program that its signature does not cover whole, and nothing may follow the signature. So the bundle
//! is part of the last segment, and ends where the signature begins.

mod read;
mod sign;
mod write;

pub use sign::is_identifier;

use super::format::{CarrierFormat, CarrierKind, Prepared, Seal, is_for_this_processor};
use crate::locate::{Located, Missing, cut_off, in_front_of};
use object::FileKind;

/// Executable files of macOS.
pub(super) struct MachO;

impl CarrierFormat for MachO {
    fn kind(&self) -> CarrierKind {
        CarrierKind { name: "Mach-O", is_code_final: false, must_be_signed: true }
    }

    fn detect(&self, data: &[u8]) -> bool {
        matches!(FileKind::parse(data), Ok(FileKind::MachO32 | FileKind::MachO64))
    }

    fn is_native(&self, data: &[u8]) -> bool {
        cfg!(target_os = "macos") && is_for_this_processor(data)
    }

    fn locate(&self, data: &[u8]) -> Result<Located, Missing> {
        let ends = read::ends(data);
        match in_front_of(data, ends.signature)? {
            Some(located) => Ok(located),
            None => cut_off(data, ends.segments),
        }
    }

    fn prepare<'a>(
        &self,
        base: &[u8],
        bundle_len: u64,
        identifier: Option<&'a str>,
    ) -> Result<Prepared<'a>, String> {
        let (code, signing) = write::grow_linkedit(base, bundle_len, identifier)?;
        let seal = signing.map(|signing| -> Seal<'a> { Box::new(move |file| sign::sign(file, &signing)) });
        Ok(Prepared { code, seal })
    }
}
