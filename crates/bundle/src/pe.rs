//! The PE carrier: the bundle lies behind the last section, in front of the certificate table.
//!
//! Authenticode hashes everything in front of that table, so a bundle that was there before signing is covered by it. The
//! reader must not look at the end of the file but at the table's start.

use object::pe::{IMAGE_DIRECTORY_ENTRY_SECURITY, ImageNtHeaders32, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader};
use object::{FileKind, LittleEndian as LE};

/// What a bundle's first byte is aligned to.
pub(super) const BUNDLE_ALIGN: usize = 8;
/// Size of a symbol of the old table that some linkers leave behind the sections.
const SYMBOL_LEN: u64 = 18;

/// Where the signed part of the file ends: the start of the certificate table. `None` if there is none.
pub(super) fn certificates_at(data: &[u8]) -> Option<u64> {
    if is_64(data) {
        certificates_in::<ImageNtHeaders64>(data)
    } else {
        certificates_in::<ImageNtHeaders32>(data)
    }
}

/// Where what the headers know of ends, certificates aside. The file may be shorter.
pub(super) fn image_end(data: &[u8]) -> Option<u64> {
    if is_64(data) { end_in::<ImageNtHeaders64>(data) } else { end_in::<ImageNtHeaders32>(data) }
}

fn is_64(data: &[u8]) -> bool {
    matches!(FileKind::parse(data), Ok(FileKind::Pe64))
}

fn certificates_in<H: ImageNtHeaders>(data: &[u8]) -> Option<u64> {
    let dos = object::pe::ImageDosHeader::parse(data).ok()?;
    let mut offset = dos.nt_headers_offset().into();
    let (_, directories) = H::parse(data, &mut offset).ok()?;
    let table = directories.get(IMAGE_DIRECTORY_ENTRY_SECURITY)?;
    // Alone among the directories this one holds a file offset.
    let at = table.virtual_address.get(LE);
    (at != 0).then_some(at.into())
}

fn end_in<H: ImageNtHeaders>(data: &[u8]) -> Option<u64> {
    let dos = object::pe::ImageDosHeader::parse(data).ok()?;
    let mut offset = dos.nt_headers_offset().into();
    let (headers, _) = H::parse(data, &mut offset).ok()?;
    let sections = headers.sections(data, offset).ok()?;
    let mut end = u64::from(headers.optional_header().size_of_headers());
    for section in sections.iter() {
        if section.size_of_raw_data.get(LE) != 0 {
            let at = u64::from(section.pointer_to_raw_data.get(LE));
            end = end.max(at + u64::from(section.size_of_raw_data.get(LE)));
        }
    }
    let file = headers.file_header();
    let symbols = u64::from(file.pointer_to_symbol_table.get(LE));
    if symbols != 0 {
        let strings = symbols + u64::from(file.number_of_symbols.get(LE)) * SYMBOL_LEN;
        let len = usize::try_from(strings)
            .ok()
            .and_then(|at| data.get(at..at.checked_add(4)?))
            .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        end = end.max(strings + u64::from(len));
    }
    Some(end)
}
