//! Cutting a content stream into frames, and compressing them.
//!
//! The cuts are defined by the content (`FastCDC`, 2020, with normalized sizes), so that what is inserted into or removed
//! from a file moves the cuts around it and no others: every other frame is byte for byte what it was, and an update
//! need not fetch it. Sizes and level are the outcome of `examples/frame_sizes.rs`; `docs/decisions/0002-frame-size.md`
//! says what the others would cost.

use super::Digest;
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
        Self::around(1 << 20, 19)
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
