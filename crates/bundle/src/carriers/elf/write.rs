//! Writing an ELF carrier: a copy of the section table with one more section, and the bundle as that section's
//! content.
//!
//! Nothing of the file is moved. A new string table and a new section table go to its end, in front of the bundle,
//! and three fields of the file header point there; no segment, address or other section refers to it. The bundle is
//! last, so its footer is where a reader looks first: at the end of the file.

use super::read::{NOTE_LEN, NOTE_NAME, NOTE_TYPE, SECTION};
use crate::carriers::format::pad;
use object::FileKind;
use object::elf::{FileHeader32, FileHeader64, SHN_LORESERVE, SHT_NOTE};
use object::endian::Endianness;
use object::read::elf::{FileHeader, SectionHeader};

/// What a bundle's first byte is aligned to.
const BUNDLE_ALIGN: usize = 16;
/// What a note is aligned to.
const NOTE_ALIGN: u64 = 4;

/// Where the fields lie that are written, in one of the two classes of ELF.
struct Fields {
    /// Size of an address or offset.
    word: usize,
    // In the file header.
    shoff: usize,
    shnum: usize,
    // In a section header.
    offset: usize,
    size: usize,
    align: usize,
    entry: usize,
}

const FIELDS_64: Fields =
    Fields { word: 8, shoff: 0x28, shnum: 0x3c, offset: 0x18, size: 0x20, align: 0x30, entry: 64 };
const FIELDS_32: Fields =
    Fields { word: 4, shoff: 0x20, shnum: 0x30, offset: 0x10, size: 0x14, align: 0x20, entry: 40 };

/// The bytes in front of a bundle of `bundle_len` bytes that make `base` a carrier.
///
/// # Errors
/// The reason why `base` cannot carry a bundle.
pub(super) fn add_section(base: &[u8], bundle_len: u64) -> Result<Vec<u8>, String> {
    match FileKind::parse(base) {
        Ok(FileKind::Elf64) => with_section::<FileHeader64<Endianness>>(base, bundle_len, &FIELDS_64),
        _ => with_section::<FileHeader32<Endianness>>(base, bundle_len, &FIELDS_32),
    }
}

fn with_section<H: FileHeader<Endian = Endianness>>(
    base: &[u8],
    bundle_len: u64,
    fields: &Fields,
) -> Result<Vec<u8>, String> {
    let unreadable = |e: object::Error| format!("its section table cannot be read: {e}");
    let header = H::parse(base).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let table: u64 = header.e_shoff(endian).into();
    let count = header.e_shnum(endian);
    let names = header.e_shstrndx(endian).0;
    if table == 0 {
        return Err("it has no section table, so no packager would know of the bundle; link it again without removing the table".into());
    }
    if count == 0 || count >= SHN_LORESERVE - 1 || names >= SHN_LORESERVE || names == 0 {
        return Err("it has more sections than fit in its header, or none with names".into());
    }
    let sections = header.sections(endian, base).map_err(unreadable)?;
    if sections.section_by_name(endian, SECTION).is_some() {
        return Err("it carries a bundle already; pack onto the bare binary".into());
    }
    let strings = sections
        .section(object::SectionIndex(names.into()))
        .and_then(|section| section.data(endian, base))
        .map_err(unreadable)?;
    let old_table = usize::try_from(table)
        .ok()
        .and_then(|at| base.get(at..at.checked_add(usize::from(count) * fields.entry)?))
        .ok_or("its section table lies outside the file")?;

    let mut out = base.to_vec();
    let name = u32::try_from(strings.len()).map_err(|_| "its section names are too long")?;
    let strings_at = out.len();
    out.extend_from_slice(strings);
    out.extend_from_slice(SECTION);
    out.push(0);
    let strings_len = out.len() - strings_at;
    pad(&mut out, fields.word);
    let table_at = out.len();
    out.extend_from_slice(old_table);
    let added_at = out.len();
    // The note ends at a multiple of 16, so that the bundle begins at one.
    out.resize(added_at + fields.entry + NOTE_LEN, 0);
    pad(&mut out, BUNDLE_ALIGN);
    let note_at = out.len() - NOTE_LEN;
    let note_len = u32::try_from(bundle_len).map_err(|_| "an ELF note cannot hold a bundle beyond 4 GiB")?;

    let mut writer = Writer { out: &mut out, endian, word: fields.word };
    writer.word(fields.shoff, table_at as u64)?;
    writer.half(fields.shnum, count + 1);
    let strings_header = table_at + usize::from(names) * fields.entry;
    writer.word(strings_header + fields.offset, strings_at as u64)?;
    writer.word(strings_header + fields.size, strings_len as u64)?;
    writer.four(added_at, name);
    writer.four(added_at + 4, SHT_NOTE.0);
    writer.word(added_at + fields.offset, note_at as u64)?;
    writer.word(added_at + fields.size, bundle_len + NOTE_LEN as u64)?;
    writer.word(added_at + fields.align, NOTE_ALIGN)?;
    writer.four(note_at, 8);
    writer.four(note_at + 4, note_len);
    writer.four(note_at + 8, NOTE_TYPE);
    out[note_at + 12..].copy_from_slice(NOTE_NAME);
    Ok(out)
}

/// Writes numbers as the file writes them. Every position was taken from the length of `out`.
struct Writer<'a> {
    out: &'a mut [u8],
    endian: Endianness,
    word: usize,
}

impl Writer<'_> {
    fn put(&mut self, at: usize, little_endian: &[u8]) {
        let field = &mut self.out[at..at + little_endian.len()];
        field.copy_from_slice(little_endian);
        if self.endian == Endianness::Big {
            field.reverse();
        }
    }

    fn half(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    fn four(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn word(&mut self, at: usize, value: u64) -> Result<(), String> {
        if self.word == 8 {
            self.put(at, &value.to_le_bytes());
        } else {
            let value =
                u32::try_from(value).map_err(|_| "a 32-bit ELF file cannot hold a bundle beyond 4 GiB")?;
            self.four(at, value);
        }
        Ok(())
    }
}
