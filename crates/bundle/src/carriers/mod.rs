//! The object formats that can carry a bundle: one file or directory each, and one entry in [`FORMATS`].

mod elf;
mod format;
mod macho;
mod pe;
mod plain;

pub use format::CarrierKind;
pub(crate) use format::{CarrierFormat, Prepared};
pub use macho::is_identifier;

/// Every supported format. The first one that detects a file is taken; the last one accepts any file.
static FORMATS: &[&dyn CarrierFormat] = &[&elf::Elf, &macho::MachO, &pe::Pe, &plain::Plain];

/// The format of a file with these bytes.
pub(crate) fn format_of(data: &[u8]) -> &'static dyn CarrierFormat {
    FORMATS.iter().copied().find(|format| format.detect(data)).unwrap_or(&plain::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_format_has_its_own_name() {
        let names: HashSet<_> = FORMATS.iter().map(|format| format.kind().name).collect();
        assert_eq!(names.len(), FORMATS.len());
    }

    #[test]
    fn files_are_detected_by_their_first_bytes() {
        let dos = [&b"MZ"[..], &[0; 58], &64_u32.to_le_bytes(), b"PE\0\0"].concat();
        let optional_header = [&dos[..], &[0; 20], &0x20b_u16.to_le_bytes(), &[0; 200]].concat();
        for (bytes, name) in [
            (&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..], "ELF"),
            (b"\xcf\xfa\xed\xfe\x07\0\0\x01\0\0\0\0\0\0\0\0", "Mach-O"),
            (&optional_header, "PE"),
            (b"#!/bin/sh\nexit 0\n", "plain"),
            (b"", "plain"),
        ] {
            assert_eq!(format_of(bytes).kind().name, name, "{:?}", bytes.get(..4));
        }
    }
}
