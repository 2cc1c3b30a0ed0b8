//! The Mach-O carrier: the bundle lies at the end of `__LINKEDIT`, in front of the code signature.
//!
//! macOS runs nothing whose signature does not cover it whole, and nothing may follow the signature. So the bundle is
//! part of the last segment, and its end is where the signature begins.

use object::FileKind;
use object::endian::Endianness;
use object::macho::{MachHeader32, MachHeader64};
use object::read::macho::{LoadCommandVariant, MachHeader};

/// What the load commands say of the file's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// Where the code signature begins.
    pub(super) signature: Option<u64>,
    /// Where the last segment ends. The file may be shorter.
    pub(super) segments: u64,
}

/// Reads them; of a file whose load commands cannot be read, nothing is known.
pub(super) fn ends(data: &[u8]) -> Ends {
    let ends = if matches!(FileKind::parse(data), Ok(FileKind::MachO64)) {
        ends_in::<MachHeader64<Endianness>>(data)
    } else {
        ends_in::<MachHeader32<Endianness>>(data)
    };
    ends.unwrap_or_default()
}

fn ends_in<H: MachHeader<Endian = Endianness>>(data: &[u8]) -> Option<Ends> {
    let header = H::parse(data, 0).ok()?;
    let endian = header.endian().ok()?;
    let mut commands = header.load_commands(endian, data, 0).ok()?;
    let mut ends = Ends::default();
    while let Some(command) = commands.next().ok()? {
        let segment = match command.variant() {
            Ok(LoadCommandVariant::LinkeditData(linkedit))
                if command.cmd() == object::macho::LC_CODE_SIGNATURE =>
            {
                ends.signature = Some(linkedit.dataoff.get(endian).into());
                continue;
            }
            Ok(LoadCommandVariant::Segment64(segment, _)) => {
                segment.fileoff.get(endian).checked_add(segment.filesize.get(endian))?
            }
            Ok(LoadCommandVariant::Segment32(segment, _)) => {
                u64::from(segment.fileoff.get(endian)) + u64::from(segment.filesize.get(endian))
            }
            _ => continue,
        };
        ends.segments = ends.segments.max(segment);
    }
    Some(ends)
}
