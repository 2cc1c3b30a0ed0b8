//! The ELF carrier, of Linux: the bundle is the content of a section that belongs to no segment.

mod read;
mod write;

use super::format::{CarrierFormat, CarrierKind, Prepared, is_for_this_processor};
use crate::error::Damage;
use crate::locate::{Located, Missing, ending_at};
use object::FileKind;

/// Executable files of Linux.
pub(super) struct Elf;

impl CarrierFormat for Elf {
    fn kind(&self) -> CarrierKind {
        CarrierKind { name: "ELF", is_code_final: true, must_be_signed: false }
    }

    fn detect(&self, data: &[u8]) -> bool {
        matches!(FileKind::parse(data), Ok(FileKind::Elf32 | FileKind::Elf64))
    }

    fn is_native(&self, data: &[u8]) -> bool {
        cfg!(target_os = "linux") && is_for_this_processor(data)
    }

    fn locate(&self, data: &[u8]) -> Result<Located, Missing> {
        let section = read::find_section(data)?.ok_or(Missing::Bare)?;
        ending_at(data, section.end)?
            .filter(|located| located.range == section)
            .ok_or_else(|| Damage::new("its section does not hold a whole bundle").into())
    }

    fn prepare<'a>(
        &self,
        base: &[u8],
        bundle_len: u64,
        _identifier: Option<&'a str>,
    ) -> Result<Prepared<'a>, String> {
        write::add_section(base, bundle_len).map(Prepared::unsealed)
    }
}
