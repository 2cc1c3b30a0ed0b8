//! Patches: a new code part, made of an old one and what is different.
//!
//! A line more in a program moves what stands behind it, and every jump and every address that crosses the place becomes another
//! one. So nearly each chunk of the code part changes in a few bytes, and to fetch chunks is to fetch all of it. A patch says what
//! those bytes are. It is a zstd frame with the old code part as its prefix (RFC 8878; what `zstd --patch-from` makes), so it fits
//! one older version, and is made for the last few. Whoever has another one fetches chunks.

use super::index::{Patch, UpdateIndex};
use super::recipe::{Part, Recipe};
use super::seed::Seed;
use super::staging::Staging;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use stigmer_bundle::Digest;

/// The largest window a frame may ask for, as a power of two: that of the largest code part there may be.
const WINDOW: u32 = 30;

/// Makes the patch that turns `old` into `new`.
///
/// # Errors
/// The library refuses `level`, or there is no memory for it.
pub(super) fn make(old: &[u8], new: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::with_ref_prefix(Vec::new(), level, old)?;
    // What is looked for may stand as far back as both together are long.
    encoder.window_log(log_of(old.len() + new.len()))?;
    encoder.long_distance_matching(true)?;
    encoder.include_checksum(false)?;
    encoder.set_pledged_src_size(Some(new.len() as u64))?;
    encoder.write_all(new)?;
    encoder.finish()
}

/// Whether `patch` makes `new` of `old`.
pub(super) fn makes(old: &[u8], patch: &[u8], new: &[u8]) -> bool {
    let mut made = Vec::with_capacity(new.len());
    let limit = new.len() as u64 + 1;
    let read = decoder(old, patch).and_then(|decoder| decoder.take(limit).read_to_end(&mut made));
    read.is_ok() && made == new
}

/// Reads what `patch` makes of `old`.
fn decoder<'a>(old: &'a [u8], patch: &'a [u8]) -> io::Result<impl Read + 'a> {
    let mut decoder = zstd::stream::Decoder::with_ref_prefix(patch, old)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}

/// The smallest power of two that is no less than `len`, of those that zstd knows as windows.
fn log_of(len: usize) -> u32 {
    len.next_power_of_two().trailing_zeros().clamp(10, WINDOW)
}

/// A patch of the release, and a carrier of this machine with the code part that it fits.
#[derive(Clone, Copy)]
pub(super) struct Fitting<'a> {
    /// The patch.
    pub patch: &'a Patch,
    /// Its address.
    pub url: &'a str,
    seed: &'a Seed,
}

impl<'a> Fitting<'a> {
    /// The smallest of `patches` that fits one of `seeds`.
    pub(super) fn find(patches: &'a [(Patch, String)], seeds: &'a [Seed]) -> Option<Self> {
        let fits = |(patch, url): &'a (Patch, String)| {
            let seed = seeds.iter().find(|seed| seed.code_digest() == Some(patch.from_blake3))?;
            Some(Self { patch, url, seed })
        };
        patches.iter().filter_map(fits).min_by_key(|fitting| fitting.patch.size)
    }

    /// Puts into `staging` what the patch, whose bytes these are, makes of the older code part. False if that is not the code
    /// part that `index` describes.
    pub(super) fn apply(
        &self,
        bytes: &[u8],
        staging: &mut Staging,
        recipe: &Recipe,
        index: &UpdateIndex,
    ) -> io::Result<bool> {
        match self.seed.code_part() {
            Some(old) => apply(staging, recipe, index, &old, bytes),
            None => Ok(false),
        }
    }
}

/// Puts chunk after chunk into `staging`. Each is hashed before it is written.
fn apply(
    staging: &mut Staging,
    recipe: &Recipe,
    index: &UpdateIndex,
    old: &[u8],
    patch: &[u8],
) -> io::Result<bool> {
    let mut decoder = decoder(old, patch)?;
    let code = recipe.pieces.iter().enumerate().filter(|(_, piece)| piece.part == Part::Code);
    let numbers: HashMap<Digest, usize> = code.map(|(number, piece)| (piece.digest, number)).collect();
    let mut bytes = Vec::new();
    for chunk in &index.code.chunks {
        // At most 4 MiB: the index was checked.
        bytes.resize(usize::try_from(chunk.raw_size).map_err(io::Error::other)?, 0);
        if decoder.read_exact(&mut bytes).is_err() || Digest::of(&bytes) != chunk.raw_blake3 {
            return Ok(false);
        }
        // A chunk with the bytes of a frame counts as that frame, and is fetched as such.
        let number = numbers.get(&chunk.raw_blake3).copied().filter(|number| !staging.has(*number));
        if let Some((number, piece)) = number.and_then(|number| Some((number, recipe.pieces.get(number)?))) {
            staging.put(number, piece, &bytes)?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unmake(old: &[u8], patch: &[u8], len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        decoder(old, patch)?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Something like a program: it does not compress, and every 61st byte is one of an address.
    fn program(len: usize, moved: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes.iter_mut().step_by(61).for_each(|byte| *byte = byte.wrapping_add(moved));
        bytes
    }

    #[test]
    fn addresses_that_moved_cost_little() {
        let (old, mut new) = (program(3_000_000, 0), program(3_000_000, 1));
        new.splice(1_000_000..1_000_000, *b"one more function");
        let patch = make(&old, &new, 19).unwrap();
        assert!(patch.len() * 4 < new.len(), "{} of {}", patch.len(), new.len());
        assert_eq!(unmake(&old, &patch, new.len()).unwrap(), new);
        // Of another old code part it makes something else, or nothing.
        let other = unmake(&new, &patch, new.len());
        assert!(other.is_err() || other.is_ok_and(|other| other != new));
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_new_of_the_old(
            old in prop::collection::vec(any::<u8>(), 0..5000),
            new in prop::collection::vec(any::<u8>(), 1..5000),
            level in 1..20,
        ) {
            let patch = make(&old, &new, level).unwrap();
            prop_assert_eq!(unmake(&old, &patch, new.len()).unwrap(), new);
        }

        #[test]
        fn bytes_that_are_no_patch_are_an_error_or_other_bytes(
            old in prop::collection::vec(any::<u8>(), 0..500),
            patch in prop::collection::vec(any::<u8>(), 0..500),
        ) {
            let _ = unmake(&old, &patch, 1000);
        }
    }
}
