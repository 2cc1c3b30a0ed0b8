//! Reading an ELF carrier: the section of the bundle, found by its name.
//!
//! `strip`, `eu-strip`, `objcopy` and `patchelf` drop what the section table does not know of, and keep, but may
//! move, what it does. So the bundle is registered as a non-alloc section and found by its name when it is no longer
//! at the end of the file. The section is a note, a well-formed one with the bundle as its description, because notes
//! are the only sections outside of segments that `eu-strip` keeps.

use crate::error::Damage;
use object::FileKind;
use object::elf::{FileHeader32, FileHeader64};
use object::endian::Endianness;
use object::read::elf::{FileHeader, SectionHeader};
use std::ops::Range;

/// The name of the section.
pub(super) const SECTION: &[u8] = b".stigmer.bundle";

/// What stands in front of the bundle in its section: the header of a note, with its name.
pub(super) const NOTE_LEN: usize = 20;
/// The name of the note, with the zero byte that ends it.
pub(super) const NOTE_NAME: &[u8; 8] = b"stigmer\0";
/// The type of the note. The owner of the name defines the types.
pub(super) const NOTE_TYPE: u32 = 1;

/// Where the section table says the bundle lies; `None` if there is no such section.
pub(super) fn find_section(data: &[u8]) -> Result<Option<Range<u64>>, Damage> {
    if matches!(FileKind::parse(data), Ok(FileKind::Elf64)) {
        find_in::<FileHeader64<Endianness>>(data)
    } else {
        find_in::<FileHeader32<Endianness>>(data)
    }
}

fn find_in<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Option<Range<u64>>, Damage> {
    let damaged = |e: object::Error| Damage::new(format!("section table: {e}"));
    let header = H::parse(data).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let sections = header.sections(endian, data).map_err(damaged)?;
    let Some((_, section)) = sections.section_by_name(endian, SECTION) else {
        return Ok(None);
    };
    let start: u64 = section.sh_offset(endian).into();
    let len: u64 = section.sh_size(endian).into();
    let end = start
        .checked_add(len)
        .filter(|_| len >= NOTE_LEN as u64)
        .filter(|end| *end <= data.len() as u64)
        .ok_or_else(|| {
            Damage::new(format!(
                "cut off: its section takes {len} bytes at {start}, the file has {}",
                data.len()
            ))
        })?;
    Ok(Some(start + NOTE_LEN as u64..end))
}
