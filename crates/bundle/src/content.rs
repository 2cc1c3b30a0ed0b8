//! Reading files out of a carrier: frames are decoded in parallel, and every file's content is hashed in the same pass that
//! hands it on.
//!
//! Only the frames that hold something wanted are touched. A few are decoded at a time, so memory stays bounded however
//! large the component is.

use super::{BundleError, Carrier, Component, Digest, Frame};
use rayon::prelude::*;
use std::io;
use std::ops::Range;

/// From this size on, a piece is worth hashing with more than one thread.
const SHARED_HASH: usize = 1 << 20;

/// Where the content of a file goes.
pub(super) trait Sink: Send {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Nowhere: only its digest is wanted.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn take(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for fs_err::File {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }
}

/// A content that is wanted: a range of the content stream with a digest.
pub(super) struct Wanted<S> {
    range: Range<u64>,
    expected: Digest,
    hasher: blake3::Hasher,
    sink: S,
    state: io::Result<State>,
}

/// What is known of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was wrong with it.
    Sound,
    /// A frame that holds a part of it cannot be decoded.
    Lost,
    /// Its digest is another.
    Mismatch,
}

impl<S: Sink> Wanted<S> {
    /// The content of `size` bytes at `at`.
    pub(super) fn new(at: u64, size: u64, expected: Digest, sink: S) -> Self {
        Self {
            // An index that was checked has no sum beyond 64 bits.
            range: at..at.saturating_add(size),
            expected,
            hasher: blake3::Hasher::new(),
            sink,
            state: Ok(State::Sound),
        }
    }

    /// What became of it. The error is that of its sink.
    pub(super) fn finish(self) -> io::Result<State> {
        match self.state? {
            State::Sound if Digest::from(self.hasher.finalize()) != self.expected => Ok(State::Mismatch),
            state => Ok(state),
        }
    }

    fn feed(&mut self, piece: &Decoded) {
        let start = self.range.start.max(piece.stream.start);
        let end = self.range.end.min(piece.stream.end);
        if start >= end || !matches!(self.state, Ok(State::Sound)) {
            return;
        }
        let Ok(bytes) = &piece.bytes else {
            self.state = Ok(State::Lost);
            return;
        };
        #[expect(clippy::cast_possible_truncation, reason = "both lie within a decoded frame")]
        let bytes = &bytes[(start - piece.stream.start) as usize..(end - piece.stream.start) as usize];
        if bytes.len() >= SHARED_HASH {
            self.hasher.update_rayon(bytes);
        } else {
            self.hasher.update(bytes);
        }
        if let Err(e) = self.sink.take(bytes) {
            self.state = Err(e);
        }
    }
}

/// A frame after decoding.
struct Decoded {
    /// Which range of the content stream it is.
    stream: Range<u64>,
    bytes: Result<Vec<u8>, BundleError>,
}

/// A frame that cannot be decoded.
pub(super) struct BadFrame {
    /// Its number in the component.
    pub(super) number: usize,
    /// Which range of the content stream is lost with it.
    pub(super) stream: Range<u64>,
    /// Why.
    pub(super) error: BundleError,
}

/// Decodes what `wanted` needs of `component` and feeds it, and returns the frames that were bad. `wanted` must be sorted
/// by where in the stream its contents begin, an empty one first; as contents do not overlap (the index was checked), so
/// are their ends.
pub(super) fn read<S: Sink>(
    carrier: &Carrier,
    component: &Component,
    wanted: &mut [Wanted<S>],
) -> Vec<BadFrame> {
    let mut needed: Vec<(usize, Range<u64>, &Frame)> = Vec::new();
    let mut at = 0;
    for (number, frame) in component.frames.iter().enumerate() {
        let stream = at..at + frame.raw;
        at = stream.end;
        needed.push((number, stream, frame));
    }
    needed.retain(|(_, stream, _)| {
        let behind = wanted.partition_point(|content| content.range.end <= stream.start);
        wanted.get(behind).is_some_and(|content| content.range.start < stream.end)
    });
    let mut bad = Vec::new();
    for batch in needed.chunks(rayon::current_num_threads().max(1) * 2) {
        let mut decoded: Vec<Decoded> = batch
            .par_iter()
            .map_init(zstd::bulk::Decompressor::new, |decoder, (_, stream, frame)| Decoded {
                stream: stream.clone(),
                bytes: decode(carrier, frame, decoder),
            })
            .collect();
        let (Some((_, first, _)), Some((_, last, _))) = (batch.first(), batch.last()) else {
            continue;
        };
        let reached = wanted.partition_point(|content| content.range.end <= first.start)
            ..wanted.partition_point(|content| content.range.start < last.end);
        // A content that is empty may stand on either side; it needs nothing.
        if let Some(reached) = wanted.get_mut(reached) {
            reached.par_iter_mut().for_each(|content| {
                for piece in &decoded {
                    content.feed(piece);
                }
            });
        }
        for ((number, stream, _), piece) in batch.iter().zip(decoded.drain(..)) {
            if let Err(error) = piece.bytes {
                bad.push(BadFrame { number: *number, stream: stream.clone(), error });
            }
        }
    }
    bad
}

fn decode(
    carrier: &Carrier,
    frame: &Frame,
    decoder: &mut io::Result<zstd::bulk::Decompressor<'static>>,
) -> Result<Vec<u8>, BundleError> {
    let decoder = decoder.as_mut().map_err(|e| io::Error::new(e.kind(), e.to_string()))?;
    // The index was checked: no frame is larger than its limit.
    #[expect(clippy::cast_possible_truncation, reason = "at most 16 MiB")]
    let mut out = vec![0; frame.raw as usize];
    carrier.decode(frame, decoder, &mut out)?;
    Ok(out)
}
