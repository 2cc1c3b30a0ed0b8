//! Cutting a content stream into frames, and compressing them.
//!
//! The cuts are defined by the content (`FastCDC`, 2020, with normalized sizes), so that what is inserted into or removed
//! from a file moves the cuts around it and no others: every other frame is byte for byte what it was, and an update
//! need not fetch it. Sizes and level are the outcome of `benches/frame_sizes`; `docs/decisions/0002-frame-size.md`
//! says what the others would cost.

use crate::digest::Digest;
use fastcdc::v2020::{Error, StreamCDC};
use rayon::prelude::*;
use std::io::{self, Read};
use zstd::zstd_safe::{CParameter, max_c_level};

/// How a stream is cut and compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutting {
    /// The smallest piece, in bytes. Only the end of a stream is smaller.
    pub min: usize,
    /// About the average piece.
    pub average: usize,
    /// The largest piece.
    pub max: usize,
    /// The level of zstd.
    pub level: i32,
}

impl Default for Cutting {
    fn default() -> Self {
        Self::around(1 << 20, 15)
    }
}

impl Cutting {
    /// Pieces of about `average` bytes, at least half and at most four times as large, compressed with `level`.
    pub fn around(average: usize, level: i32) -> Self {
        Self { min: average / 2, average, max: average * 4, level: level.clamp(1, max_c_level()) }
    }

    /// The pieces of `stream`.
    pub fn pieces<R: Read>(&self, stream: R) -> impl Iterator<Item = io::Result<Vec<u8>>> + use<R> {
        StreamCDC::new(stream, self.min, self.average, self.max).map(|piece| match piece {
            Ok(piece) => Ok(piece.data),
            Err(Error::IoError(e)) => Err(e),
            Err(other) => Err(io::Error::other(other.to_string())),
        })
    }

    /// The compressed frames of `stream`, in its order. What they are does not depend on how many threads made them.
    pub(super) fn frames<R: Read + Send>(&self, stream: R) -> io::Result<Vec<Compressed>> {
        let mut frames = self
            .pieces(stream)
            .enumerate()
            .par_bridge()
            .map(|(i, piece)| Ok((i, Compressed::new(&piece?, self.level)?)))
            .collect::<io::Result<Vec<_>>>()?;
        frames.sort_unstable_by_key(|(i, _)| *i);
        Ok(frames.into_iter().map(|(_, frame)| frame).collect())
    }
}

/// One frame, ready to be written.
#[derive(Debug)]
pub(super) struct Compressed {
    pub(super) bytes: Vec<u8>,
    pub(super) raw: u64,
    pub(super) blake3: Digest,
}

impl Compressed {
    fn new(raw: &[u8], level: i32) -> io::Result<Self> {
        let bytes = compress(raw, level)?;
        Ok(Self { blake3: Digest::of(&bytes), raw: raw.len() as u64, bytes })
    }
}

/// One zstd frame of `raw`: its size in the header, no checksum (the index has a digest), no dictionary.
pub fn compress(raw: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    compressor.set_parameter(CParameter::DictIdFlag(false))?;
    compressor.compress(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn small() -> Cutting {
        Cutting::around(1 << 10, 3)
    }

    fn pieces(stream: &[u8]) -> Vec<Vec<u8>> {
        small().pieces(stream).collect::<io::Result<_>>().unwrap()
    }

    /// Bytes as varied as those of real files, from a seed: runs, text and noise.
    fn content(seed: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
        out
    }

    /// A reader that gives its bytes in small and odd portions.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 977 + 1;
            let count = self.1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_stream_and_within_bounds(seed: u64, len in 0..60_000_usize, zeros in 0..20_000_usize) {
            let mut stream = content(seed, len);
            stream.resize(len + zeros, 0);
            let pieces = pieces(&stream);
            prop_assert_eq!(pieces.concat(), stream);
            let Cutting { min, max, .. } = small();
            for (i, piece) in pieces.iter().enumerate() {
                prop_assert!(!piece.is_empty() && piece.len() <= max);
                prop_assert!(piece.len() >= min || i + 1 == pieces.len());
            }
        }

        #[test]
        fn the_pieces_do_not_depend_on_how_the_stream_arrives(seed: u64, len in 0..60_000_usize) {
            let stream = content(seed, len);
            let dripping: Vec<_> = small().pieces(Dripping(&stream, 0)).collect::<io::Result<_>>().unwrap();
            prop_assert_eq!(dripping, pieces(&stream));
        }

        #[test]
        fn a_local_change_leaves_most_pieces_alone(
            seed: u64,
            at in 0..200_000_usize,
            removed in 0..100_usize,
            added in 0..100_usize,
        ) {
            let before = content(seed, 200_000);
            let end = (at + removed).min(before.len());
            let after = [&before[..at], &content(!seed, added), &before[end..]].concat();
            let known: HashSet<Vec<u8>> = pieces(&before).into_iter().collect();
            let fresh = pieces(&after).into_iter().filter(|piece| !known.contains(piece)).count();
            // Cuts find each other again within a few pieces; how many is chance, and 14 was seen. Cuts at fixed places would
            // make every piece behind the change a new one: half of them.
            prop_assert!(fresh <= 32, "{fresh} of {} pieces are new", known.len());
        }

        #[test]
        fn a_frame_says_its_size_and_nothing_else(seed: u64, len in 1..5000_usize) {
            let raw = content(seed, len);
            let frame = compress(&raw, 3).unwrap();
            prop_assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(len as u64));
            // The frame header's descriptor: no checksum flag, no dictionary id.
            prop_assert_eq!(frame[4] & 0b111, 0);
            prop_assert_eq!(zstd::bulk::decompress(&frame, len).unwrap(), raw);
        }
    }

    #[test]
    fn the_chosen_sizes_are_within_the_limits_of_the_format() {
        let chosen = Cutting::default();
        assert!(chosen.max as u64 <= crate::index::Limits::FRAME_RAW);
        assert!(chosen.min < chosen.average && chosen.average < chosen.max);
    }
}
