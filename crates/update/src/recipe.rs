//! What a carrier is made of, piece by piece: what to look for here, what to fetch from where, and where to put it.
//!
//! The update index says the same in the words of the release: segments, frames and chunks of the code part. Turned into pieces,
//! frames and chunks are one thing to the rest of this room: bytes with a digest, to be had from a file of the release, that
//! belong at one place of the carrier or at several.

use super::index::{UpdateIndex, What};
use std::collections::HashMap;
use std::ops::Range;
use stigmer_bundle::Digest;

/// Which file of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// The carrier itself.
    Carrier,
    /// The compressed copy of its code part.
    Code,
}

/// Some bytes of the carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// BLAKE3 of the bytes as they stand in the carrier.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// In which file of the release they are to be had; in that of the code part they are compressed, each chunk a zstd frame.
    pub part: Part,
    /// Where in that file.
    pub range: Range<u64>,
    /// BLAKE3 of them as they are there.
    pub fetched: Digest,
    /// Where they belong: at one place of the carrier or at several. A place is ranges that hold the whole piece between
    /// them, one after the other; there are several only where frames stand in the middle of a chunk.
    pub places: Vec<Vec<Range<u64>>>,
}

/// A carrier as pieces that cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The carrier's size in bytes.
    pub size: u64,
    /// BLAKE3 of all of it.
    pub digest: Digest,
    /// The size of the file with the compressed code part in bytes.
    pub code_size: u64,
    /// The pieces, by where they first stand in the carrier.
    pub pieces: Vec<Piece>,
}

/// Where the bytes of a code part stand in their carrier.
#[derive(Debug, Default)]
pub(super) struct CodeMap {
    /// For each run of code: its first byte in the code part, and its place in the carrier.
    runs: Vec<(u64, Range<u64>)>,
    len: u64,
}

impl CodeMap {
    /// Adds the next run of the code part.
    pub(super) fn add(&mut self, place: Range<u64>) {
        if place.start < place.end {
            let len = place.end - place.start;
            self.runs.push((self.len, place));
            self.len += len;
        }
    }

    /// The runs, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().map(|(_, place)| place.clone())
    }

    /// Where the bytes `raw` of the code part stand.
    pub(super) fn find(&self, raw: Range<u64>) -> Vec<Range<u64>> {
        let first =
            self.runs.partition_point(|(start, place)| start + (place.end - place.start) <= raw.start);
        self.runs[first..]
            .iter()
            .take_while(|(start, _)| *start < raw.end)
            .map(|(start, place)| {
                let from = raw.start.max(*start) - start;
                let to = raw.end.min(start + (place.end - place.start)) - start;
                place.start + from..place.start + to
            })
            .collect()
    }
}

impl Recipe {
    /// The pieces of the carrier that `index` describes.
    pub(super) fn new(index: &UpdateIndex) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut known: HashMap<(Digest, u64), usize> = HashMap::new();
        let mut add = |piece: Piece| {
            let number = *known.entry((piece.digest, piece.size)).or_insert(pieces.len());
            match pieces.get_mut(number) {
                // What stands in the carrier twice is fetched once.
                Some(same) => same.places.extend(piece.places),
                None => pieces.push(piece),
            }
        };
        let mut code = CodeMap::default();
        for run in index.runs() {
            let range = run.at..run.at + run.size;
            match run.what {
                What::Code { .. } => code.add(range),
                What::Frame { blake3 } => add(Piece {
                    digest: blake3,
                    size: run.size,
                    part: Part::Carrier,
                    range: range.clone(),
                    fetched: blake3,
                    places: vec![vec![range]],
                }),
            }
        }
        for placed in index.code.placed() {
            let chunk = placed.chunk;
            add(Piece {
                digest: chunk.raw_blake3,
                size: chunk.raw_size,
                part: Part::Code,
                range: placed.at..placed.at + chunk.size,
                fetched: chunk.blake3,
                places: vec![code.find(placed.raw_at..placed.raw_at + chunk.raw_size)],
            });
        }
        pieces.sort_by_key(|piece| piece.places.iter().flatten().map(|range| range.start).min());
        Self { size: index.carrier.size, digest: index.carrier.blake3, code_size: index.code.size, pieces }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_byte_of_the_code_part_is_found_where_it_stands(
            gaps in prop::collection::vec((0..50_u64, 0..50_u64), 1..12),
            cut in 0..600_u64,
            len in 0..600_u64,
        ) {
            let mut map = CodeMap::default();
            let (mut at, mut bytes) = (0, Vec::new());
            for (code, other) in gaps {
                map.add(at..at + code);
                bytes.extend(at..at + code);
                at += code + other;
            }
            let all = bytes.len() as u64;
            let raw = cut.min(all)..(cut + len).min(all);
            let found: Vec<u64> = map.find(raw.clone()).into_iter().flatten().collect();
            let wanted: Vec<u64> = (0..).zip(bytes).filter(|(i, _)| raw.contains(i)).map(|(_, at)| at).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
