//! The PE carrier, of Windows: the bundle lies behind the last section, in front of the certificate table.
//!
//! Authenticode hashes everything in front of that table, so it covers a bundle that was there before signing. A
//! signed carrier does not end with the bundle: the reader looks in front of the table. Packing changes no byte of
//! the base. It would break a signature that is there already, so a signed base is refused.

use super::format::{CarrierFormat, CarrierKind, Prepared, is_for_this_processor, pad};
use crate::error::Damage;
use crate::footer::head;
use crate::locate::{Located, Missing, cut_off, in_front_of};
use object::pe::{IMAGE_DIRECTORY_ENTRY_SECURITY, ImageNtHeaders32, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader};
use object::{FileKind, LittleEndian as LE};

/// What a bundle's first byte is aligned to.
const BUNDLE_ALIGN: usize = 8;
/// Size of a symbol of the old table that some linkers leave behind the sections.
const SYMBOL_LEN: u64 = 18;

/// Executable files of Windows.
pub(super) struct Pe;

impl CarrierFormat for Pe {
    fn kind(&self) -> CarrierKind {
        CarrierKind { name: "PE", is_code_final: false, must_be_signed: false }
    }

    fn detect(&self, data: &[u8]) -> bool {
        matches!(FileKind::parse(data), Ok(FileKind::Pe32 | FileKind::Pe64))
    }

    fn is_native(&self, data: &[u8]) -> bool {
        cfg!(windows) && is_for_this_processor(data)
    }

    fn locate(&self, data: &[u8]) -> Result<Located, Missing> {
        let certificates = certificates_at(data);
        if let Some(located) = in_front_of(data, certificates)? {
            return Ok(located);
        }
        let image_end = image_end(data).unwrap_or(0);
        // A bundle begins where the image ends, so its head is there even if its end is not.
        let head_at = usize::try_from(image_end.next_multiple_of(BUNDLE_ALIGN as u64));
        if head_at.is_ok_and(|at| data.get(at..).is_some_and(|rest| rest.starts_with(&head()))) {
            return Err(Damage::new("cut off: its head is there and its footer is not").into());
        }
        cut_off(data, image_end.max(certificates.unwrap_or(0)))
    }

    fn prepare<'a>(
        &self,
        base: &[u8],
        _bundle_len: u64,
        _identifier: Option<&'a str>,
    ) -> Result<Prepared<'a>, String> {
        if certificates_at(base).is_some() {
            return Err(
                "it is signed, and packing would break that; pack the unsigned file and sign after packing"
                    .into(),
            );
        }
        let end = image_end(base).ok_or("its headers cannot be read")?;
        if base.len() as u64 != end {
            return Err(format!(
                "its headers know of {end} bytes and it has {}: something else is appended to it already, or it is cut off",
                base.len()
            ));
        }
        let mut code = base.to_vec();
        pad(&mut code, BUNDLE_ALIGN);
        Ok(Prepared::unsealed(code))
    }
}

/// Where the signed part of the file ends: the start of the certificate table. `None` if there is none.
fn certificates_at(data: &[u8]) -> Option<u64> {
    if is_64(data) {
        certificates_in::<ImageNtHeaders64>(data)
    } else {
        certificates_in::<ImageNtHeaders32>(data)
    }
}

/// End of everything that the headers list, except the certificates. The file may be shorter.
fn image_end(data: &[u8]) -> Option<u64> {
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
