//! Reading a Mach-O carrier: where the load commands say that the segments end and the signature begins.

use object::FileKind;
use object::endian::Endianness;
use object::macho::{MachHeader32, MachHeader64};
use object::read::macho::{LoadCommandVariant, MachHeader};

/// The ends that the load commands name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// Where the code signature begins.
    pub(super) signature: Option<u64>,
    /// Where the last segment ends. The file may be shorter.
    pub(super) segments: u64,
}

/// Reads the load commands. If they cannot be read, no end is known.
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
