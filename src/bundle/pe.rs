//! The PE carrier: the bundle lies behind the last section, in front of the certificate table.
//!
//! Authenticode hashes everything in front of that table, so a bundle that was there before signing is covered by it. The
//! reader must not look at the end of the file but at the table's start.

use object::LittleEndian as LE;
use object::pe::{IMAGE_DIRECTORY_ENTRY_SECURITY, ImageNtHeaders32, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader};

/// Where the signed part of the file ends: the start of the certificate table. `None` if there is none.
pub(super) fn signed_end(data: &[u8], is_64: bool) -> Option<u64> {
    if is_64 { end_in::<ImageNtHeaders64>(data) } else { end_in::<ImageNtHeaders32>(data) }
}

fn end_in<H: ImageNtHeaders>(data: &[u8]) -> Option<u64> {
    let dos = object::pe::ImageDosHeader::parse(data).ok()?;
    let mut offset = dos.nt_headers_offset().into();
    let (headers, directories) = H::parse(data, &mut offset).ok()?;
    let _ = headers.optional_header().magic();
    let table = directories.get(IMAGE_DIRECTORY_ENTRY_SECURITY)?;
    // Alone among the directories this one holds a file offset.
    let at = table.virtual_address.get(LE);
    (at != 0).then_some(at.into())
}
