//! Making a PE file a carrier: the bundle follows the last byte the headers know of.
//!
//! Nothing of the file is changed. The bundle must be there before Authenticode signs, which covers all that lies in front of
//! the certificates; a signature that is there already would be broken, so it is refused.

use super::elf_write::pad;
use super::pe;

/// The bytes in front of a bundle that make of `base` a carrier.
///
/// # Errors
/// Why this file cannot be one.
pub(super) fn carrier_of(base: &[u8]) -> Result<Vec<u8>, String> {
    if pe::certificates_at(base).is_some() {
        return Err(
            "it is signed, and packing would break that; pack the unsigned file and sign after packing"
                .into(),
        );
    }
    let end = pe::image_end(base).ok_or("its headers cannot be read")?;
    if base.len() as u64 != end {
        return Err(format!(
            "its headers know of {end} bytes and it has {}: something else is appended to it already, or it is cut off",
            base.len()
        ));
    }
    let mut out = base.to_vec();
    pad(&mut out, pe::BUNDLE_ALIGN);
    Ok(out)
}
