//! The ad hoc code signature of a Mach-O carrier: what `codesign --sign -` would write, written on any host.
//!
//! A Mac with an Apple processor starts nothing that is not signed, so a carrier packed on Linux would be of no use
//! before somebody signs it on a Mac. An ad hoc signature names nobody; it is the digest of every page of the file in
//! front of it. The last page is hashed as short as it is, and nothing follows the signature: macOS 27 refuses what
//! earlier ones forgave.
//!
//! The format is published in Apple's `cs_blobs.h` (xnu, `osfmk/kern/cs_blobs.h`). Everything in it is big-endian.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// A blob of blobs, and those in it: the code directory, the (empty) set of requirements, the (empty) list of
/// certificates. Apple's own tool writes all three; without the requirements it calls the signature invalid.
pub(super) const SUPER_BLOB: u32 = 0xfade_0cc0;
pub(super) const CODE_DIRECTORY: u32 = 0xfade_0c02;
const REQUIREMENTS: u32 = 0xfade_0c01;
const CERTIFICATES: u32 = 0xfade_0b01;
/// The slots they stand in.
const CODE_DIRECTORY_SLOT: u32 = 0;
const REQUIREMENTS_SLOT: u32 = 2;
const CERTIFICATES_SLOT: u32 = 0x1_0000;
/// The version with the executable segment, which is the last of the fields written here.
const VERSION: u32 = 0x2_0400;
/// Signed by nobody. Not `linker-signed`: tools replace such a signature without being asked.
pub(super) const ADHOC: u32 = 0x2;
/// SHA-256.
const HASH_TYPE: u8 = 2;
const HASH_LEN: usize = 32;
/// The pages that are hashed have 4 KiB on every Mac, whatever the processor's are: every signer does so, and every
/// macOS takes it.
const PAGE_BITS: u8 = 12;
const PAGE: usize = 1 << PAGE_BITS;
/// The hashes of the property list, of which there is none, and of the requirements stand in front of those of the
/// pages.
const SPECIAL_SLOTS: usize = 2;
const DIRECTORY_LEN: usize = 88;
const SUPER_BLOB_LEN: usize = 12 + 3 * 8;
const REQUIREMENTS_LEN: usize = 12;
const CERTIFICATES_LEN: usize = 8;
/// Signers let a signature end at a multiple of this.
const ALIGN: usize = 16;
const MAIN_BINARY: u64 = 1;

/// What of a file a signature says besides its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signing<'a> {
    /// What the program is called.
    pub(super) identifier: &'a str,
    /// Where in the file `__TEXT` begins, and its length.
    pub(super) text: (u64, u64),
    /// Whether it is a program, not a library.
    pub(super) is_program: bool,
}

/// Whether a Mach-O signature can be made under this name: 1 to 255 letters, digits, dots, dashes and low lines.
pub fn is_identifier(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

/// How long a signature over `limit` bytes is.
pub(super) fn len(limit: u64, identifier: &str) -> Option<u64> {
    let pages = limit.div_ceil(PAGE as u64);
    let fixed = SUPER_BLOB_LEN
        + DIRECTORY_LEN
        + identifier.len()
        + 1
        + SPECIAL_SLOTS * HASH_LEN
        + REQUIREMENTS_LEN
        + CERTIFICATES_LEN;
    pages.checked_mul(HASH_LEN as u64)?.checked_add(fixed as u64)?.checked_next_multiple_of(ALIGN as u64)
}

/// The signature over `code`, the whole file in front of it, whose load commands speak of the signature already.
///
/// # Errors
/// If the file is too long for one.
pub(super) fn sign(code: &[u8], signing: &Signing<'_>) -> Result<Vec<u8>, String> {
    let too_long = || "a Mach-O file beyond 4 GiB cannot be signed".to_owned();
    let limit = u32::try_from(code.len()).map_err(|_| too_long())?;
    let whole = len(limit.into(), signing.identifier)
        .and_then(|len| usize::try_from(len).ok())
        .ok_or_else(too_long)?;
    let requirements = words(&[REQUIREMENTS, 12, 0]);
    let hashes: Vec<[u8; HASH_LEN]> = code.par_chunks(PAGE).map(|page| Sha256::digest(page).into()).collect();

    let identifier_at = DIRECTORY_LEN;
    let hashes_at = identifier_at + signing.identifier.len() + 1 + SPECIAL_SLOTS * HASH_LEN;
    let directory_len = hashes_at + hashes.len() * HASH_LEN;
    let requirements_at = SUPER_BLOB_LEN + directory_len;
    let certificates_at = requirements_at + REQUIREMENTS_LEN;
    let end = certificates_at + CERTIFICATES_LEN;

    let mut out = Vec::with_capacity(whole);
    out.extend(words(&[SUPER_BLOB, word(end)?, 3]));
    out.extend(words(&[CODE_DIRECTORY_SLOT, word(SUPER_BLOB_LEN)?]));
    out.extend(words(&[REQUIREMENTS_SLOT, word(requirements_at)?]));
    out.extend(words(&[CERTIFICATES_SLOT, word(certificates_at)?]));

    out.extend(words(&[CODE_DIRECTORY, word(directory_len)?, VERSION, ADHOC]));
    out.extend(words(&[
        word(hashes_at)?,
        word(identifier_at)?,
        word(SPECIAL_SLOTS)?,
        word(hashes.len())?,
        limit,
    ]));
    #[expect(clippy::cast_possible_truncation, reason = "32")]
    out.extend([HASH_LEN as u8, HASH_TYPE, 0, PAGE_BITS]);
    // Reserved; no scattered pages; no team; reserved; the limit fits in its 32 bits, so not in its 64.
    out.extend(words(&[0, 0, 0, 0, 0, 0]));
    for value in [signing.text.0, signing.text.1, if signing.is_program { MAIN_BINARY } else { 0 }] {
        out.extend(value.to_be_bytes());
    }
    out.extend(signing.identifier.as_bytes());
    out.push(0);
    out.extend(Sha256::digest(&requirements));
    out.extend([0; HASH_LEN]);
    for hash in &hashes {
        out.extend(hash);
    }
    out.extend(requirements);
    out.extend(words(&[CERTIFICATES, 8]));
    debug_assert_eq!(out.len(), end);
    out.resize(whole, 0);
    Ok(out)
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn word(value: usize) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| "the signature would be longer than 4 GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_was_announced() {
        for limit in [1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE + 7] {
            let signing = Signing { identifier: "stigmer", text: (0, 4096), is_program: true };
            let signature = sign(&vec![7; limit], &signing).expect("a signature");
            assert_eq!(Some(signature.len() as u64), len(limit as u64, "stigmer"), "of {limit} bytes");
        }
    }

    #[test]
    fn identifiers() {
        for good in ["stigmer", "ai.stigmer.cli-2_x"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "a b", "a\0b", "ä", &"x".repeat(256)] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }
}
