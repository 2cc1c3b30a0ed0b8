//! The Mach-O carrier: the bundle lies at the end of `__LINKEDIT`, in front of the code signature.
//!
//! macOS runs nothing whose signature does not cover it whole, and nothing may follow the signature. So the bundle is
//! part of the last segment, and its end is where the signature begins.

use object::endian::Endianness;
use object::macho::{MachHeader32, MachHeader64};
use object::read::macho::{LoadCommandVariant, MachHeader};

/// Where the signed part of the file ends: the start of the code signature. `None` if there is none, or it cannot be read.
pub(super) fn signed_end(data: &[u8], is_64: bool) -> Option<u64> {
    if is_64 { end_in::<MachHeader64<Endianness>>(data) } else { end_in::<MachHeader32<Endianness>>(data) }
}

fn end_in<H: MachHeader<Endian = Endianness>>(data: &[u8]) -> Option<u64> {
    let header = H::parse(data, 0).ok()?;
    let endian = header.endian().ok()?;
    let mut commands = header.load_commands(endian, data, 0).ok()?;
    while let Some(command) = commands.next().ok()? {
        if command.cmd() != object::macho::LC_CODE_SIGNATURE {
            continue;
        }
        if let Ok(LoadCommandVariant::LinkeditData(linkedit)) = command.variant() {
            return Some(linkedit.dataoff.get(endian).into());
        }
    }
    None
}
