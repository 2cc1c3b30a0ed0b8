//! Finding a bundle in the bytes of a file, by its footer: the steps that the carrier formats share.

use crate::error::{BundleError, Damage};
use crate::footer::{FOOTER_LEN, FORMAT_VERSION, Footer, HEAD_LEN, Parsed, head};
use std::ops::Range;
use std::path::Path;

/// A signature begins at a multiple of 8 or 16, so up to 15 zero bytes may precede it.
const MAX_PADDING: u64 = 16;

/// A bundle found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where the bundle lies in the file, from its head to its footer.
    pub range: Range<u64>,
    /// Footer of the bundle.
    pub footer: Footer,
}

/// The reason why no bundle was found.
#[derive(Debug)]
pub(crate) enum Missing {
    /// There is none.
    Bare,
    /// Its format version is not supported.
    UnknownVersion(u32),
    /// There is one that is not whole.
    Damaged(Damage),
}

impl Missing {
    /// The error for a file at `path`.
    pub(crate) fn at(self, path: &Path) -> BundleError {
        let path = path.to_owned();
        match self {
            Self::Bare => BundleError::Bare { path },
            Self::UnknownVersion(found) => {
                BundleError::UnknownVersion { path, found, supported: FORMAT_VERSION }
            }
            Self::Damaged(damage) => BundleError::Damaged { path, damage },
        }
    }
}

impl From<Damage> for Missing {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// The bundle that ends at `end`, or `None` if no footer ends there.
pub(crate) fn ending_at(data: &[u8], end: u64) -> Result<Option<Located>, Missing> {
    let footer_at = usize::try_from(end).ok().and_then(|end| end.checked_sub(FOOTER_LEN));
    let Some(bytes) = footer_at.and_then(|at| data.get(at..at + FOOTER_LEN)) else {
        return Ok(None);
    };
    let bytes: &[u8; FOOTER_LEN] = bytes.try_into().map_err(|_| Missing::Bare)?;
    let footer = match Footer::parse(bytes)? {
        Parsed::Absent => return Ok(None),
        Parsed::UnknownVersion(found) => return Err(Missing::UnknownVersion(found)),
        Parsed::Sound(footer) => footer,
    };
    let start = footer.bundle_len().and_then(|len| end.checked_sub(len)).ok_or_else(|| {
        Damage::new(format!("cut off: it should begin before the file does, {end} bytes from its end"))
    })?;
    let at = usize::try_from(start).map_err(|_| Damage::new("too large for this system"))?;
    if data.get(at..at + HEAD_LEN) != Some(&head()[..]) {
        return Err(Damage::new("its first bytes are not as written").into());
    }
    Ok(Some(Located { range: start..end, footer }))
}

/// The bundle that ends where a signature begins, or `None` if there is no signature or no bundle in front of it.
pub(crate) fn in_front_of(data: &[u8], signature: Option<u64>) -> Result<Option<Located>, Missing> {
    let Some(signature) = signature else {
        return Ok(None);
    };
    for padding in 0..MAX_PADDING {
        let Some(end) = signature.checked_sub(padding) else {
            break;
        };
        if let Some(located) = ending_at(data, end)? {
            return Ok(Some(located));
        }
        let before = usize::try_from(end).ok().and_then(|end| end.checked_sub(1));
        if before.and_then(|at| data.get(at)) != Some(&0) {
            break;
        }
    }
    Ok(None)
}

/// Tells a file that has no bundle from one that is shorter than the `expected` length in its headers.
pub(crate) fn cut_off(data: &[u8], expected: u64) -> Result<Located, Missing> {
    if expected > data.len() as u64 {
        return Err(Damage::new(format!(
            "cut off: the file should have at least {expected} bytes, and has {}",
            data.len()
        ))
        .into());
    }
    Err(Missing::Bare)
}
