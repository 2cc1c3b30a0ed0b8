//! The plan of an update: which pieces are here already, and with how few requests the others can be had.
//!
//! One range for each request, because hosts answer several at once with an error; neighbours are fetched together with what lies
//! between them, because a request costs more than some kilobytes do. Where that would come near the whole file, the whole
//! file is fetched, which works with every host.

use super::recipe::{Part, Recipe};
use serde::Serialize;
use std::ops::Range;

/// Two ranges with at most this many bytes between them are fetched as one.
pub(super) const SMALL_GAP: u64 = 64 << 10;
/// At most this many ranges are fetched; beyond it, those with the least between them become one.
pub(super) const MOST_RUNS: usize = 32;
/// From this share of the whole file on, in percent, the whole file is fetched.
pub(super) const WORTHWHILE: u64 = 60;

/// Some pieces that are fetched with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// From which file.
    pub part: Part,
    /// Which bytes of it.
    pub range: Range<u64>,
    /// The numbers of the pieces, by where they lie in the file.
    pub pieces: Vec<usize>,
}

/// How the missing bytes are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fetching {
    /// Nothing is missing.
    Nothing,
    /// These ranges.
    Ranges(Vec<Run>),
    /// All of the carrier.
    Whole,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// How the missing bytes are fetched.
    pub fetching: Fetching,
    /// What it comes to.
    pub sums: Sums,
}

/// What a plan comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// The size of the new carrier in bytes.
    pub size: u64,
    /// Bytes to fetch.
    pub fetch_bytes: u64,
    /// Bytes of the new carrier that are here already and are used.
    pub reused_bytes: u64,
    /// Requests to make.
    pub requests: u32,
}

impl Plan {
    /// Plans the fetching of the pieces of `recipe` that are not `here`. With `whole`, all of the carrier is fetched
    /// unless nothing is missing.
    pub(super) fn new(recipe: &Recipe, here: impl Fn(usize) -> bool, whole: bool) -> Self {
        let missing: Vec<usize> = (0..recipe.pieces.len()).filter(|number| !here(*number)).collect();
        let runs = runs(recipe, &missing);
        let fetch_bytes: u64 = runs.iter().map(|run| run.range.end - run.range.start).sum();
        let fetching = if missing.is_empty() {
            Fetching::Nothing
        } else if whole || u128::from(fetch_bytes) * 100 > u128::from(recipe.size) * u128::from(WORTHWHILE) {
            Fetching::Whole
        } else {
            Fetching::Ranges(runs)
        };
        let lacking: u64 = missing
            .iter()
            .filter_map(|number| recipe.pieces.get(*number))
            .map(|piece| piece.size * piece.places.len() as u64)
            .sum();
        let (fetch_bytes, reused_bytes, requests) = match &fetching {
            Fetching::Nothing => (0, recipe.size, 0),
            Fetching::Ranges(runs) => {
                (fetch_bytes, recipe.size - lacking, u32::try_from(runs.len()).unwrap_or(u32::MAX))
            }
            Fetching::Whole => (recipe.size, 0, 1),
        };
        Self { fetching, sums: Sums { size: recipe.size, fetch_bytes, reused_bytes, requests } }
    }
}

/// The ranges that hold the pieces `missing`, few and with little between them.
fn runs(recipe: &Recipe, missing: &[usize]) -> Vec<Run> {
    let mut single: Vec<Run> = missing
        .iter()
        .filter_map(|number| {
            let piece = recipe.pieces.get(*number)?;
            Some(Run { part: piece.part, range: piece.range.clone(), pieces: vec![*number] })
        })
        .collect();
    single.sort_by_key(|run| (run.part, run.range.start));
    let mut runs = join(single, SMALL_GAP);
    // The gap to allow grows until few enough are left; with no limit there is one for each file.
    let mut gap = SMALL_GAP;
    while runs.len() > MOST_RUNS {
        gap = gap.saturating_mul(2);
        runs = join(runs, gap);
    }
    runs
}

/// Joins neighbours with at most `gap` bytes between them. `runs` are sorted.
fn join(runs: Vec<Run>, gap: u64) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.part == run.part && run.range.start <= last.range.end.saturating_add(gap) => {
                last.range.end = last.range.end.max(run.range.end);
                last.pieces.extend(run.pieces);
            }
            _ => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Piece;
    use super::*;
    use crate::bundle::Digest;
    use proptest::prelude::*;

    /// A carrier of frames of these sizes, with code compressed to a half before each.
    fn recipe(frames: &[u64], chunk: u64) -> Recipe {
        let (mut at, mut code) = (0, 0);
        let mut pieces = Vec::new();
        for (i, size) in frames.iter().enumerate() {
            let digest = |kind: u8| Digest::of(&[&[kind], &i.to_le_bytes()[..]].concat());
            pieces.push(Piece {
                digest: digest(0),
                fetched: digest(0),
                size: chunk,
                part: Part::Code,
                range: code..code + chunk / 2,
                places: vec![vec![at..at + chunk]],
            });
            code += chunk / 2;
            at += chunk;
            pieces.push(Piece {
                digest: digest(1),
                fetched: digest(1),
                size: *size,
                part: Part::Carrier,
                range: at..at + size,
                places: vec![vec![at..at + size]],
            });
            at += size;
        }
        Recipe { size: at, digest: Digest::NONE, code_size: code, pieces }
    }

    proptest! {
        #[test]
        fn a_plan_fetches_what_is_missing_and_little_else(
            frames in prop::collection::vec(1..3_000_000_u64, 1..120),
            chunk in 2..400_000_u64,
            here: u128,
            whole: bool,
        ) {
            let recipe = recipe(&frames, chunk & !1);
            let is_here = |number: usize| here >> (number % 128) & 1 == 1;
            let plan = Plan::new(&recipe, is_here, whole);
            let missing: Vec<usize> = (0..recipe.pieces.len()).filter(|n| !is_here(*n)).collect();
            match &plan.fetching {
                Fetching::Nothing => prop_assert!(missing.is_empty() && plan.sums.fetch_bytes == 0),
                Fetching::Whole => {
                    prop_assert!(!missing.is_empty());
                    prop_assert_eq!((plan.sums.fetch_bytes, plan.sums.reused_bytes), (recipe.size, 0));
                }
                Fetching::Ranges(runs) => {
                    prop_assert!(!whole && runs.len() <= MOST_RUNS);
                    let mut fetched: Vec<usize> = runs.iter().flat_map(|run| run.pieces.clone()).collect();
                    fetched.sort_unstable();
                    // Each missing piece once, and no other.
                    prop_assert_eq!(fetched, missing.clone());
                    for run in runs {
                        for number in &run.pieces {
                            let piece = &recipe.pieces[*number];
                            prop_assert_eq!(piece.part, run.part);
                            prop_assert!(run.range.start <= piece.range.start && piece.range.end <= run.range.end);
                        }
                    }
                    for pair in runs.windows(2) {
                        prop_assert!(pair[0].part < pair[1].part
                            || pair[0].range.end + SMALL_GAP < pair[1].range.start);
                    }
                    let bytes: u64 = runs.iter().map(|run| run.range.end - run.range.start).sum();
                    prop_assert_eq!(plan.sums.fetch_bytes, bytes);
                    prop_assert!(bytes * 100 <= recipe.size * WORTHWHILE);
                    let lacking: u64 = missing.iter().map(|n| recipe.pieces[*n].size).sum();
                    prop_assert_eq!(plan.sums.reused_bytes + lacking, recipe.size);
                    prop_assert_eq!(plan.sums.requests as usize, runs.len());
                }
            }
        }
    }

    #[test]
    fn one_changed_frame_costs_one_request_of_its_size() {
        let recipe = recipe(&[1_000_000; 40], 100_000);
        let plan = Plan::new(&recipe, |number| number != 21, false);
        assert_eq!(plan.sums.fetch_bytes, 1_000_000);
        assert_eq!(plan.sums.requests, 1);
        assert_eq!(plan.sums.reused_bytes, recipe.size - 1_000_000);
    }

    #[test]
    fn when_most_is_missing_all_is_fetched() {
        let recipe = recipe(&[1_000_000; 10], 2);
        assert_eq!(Plan::new(&recipe, |number| number > 13, false).fetching, Fetching::Whole);
        assert!(matches!(Plan::new(&recipe, |number| number > 9, false).fetching, Fetching::Ranges(_)));
        assert_eq!(Plan::new(&recipe, |number| number != 3, true).fetching, Fetching::Whole);
        assert_eq!(Plan::new(&recipe, |_| true, true).fetching, Fetching::Nothing);
    }
}
