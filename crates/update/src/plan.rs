//! The plan of an update: which pieces are here already, and with how few requests the others can be had.
//!
//! One range for each request, because hosts answer several at once with an error; neighbours are fetched together with what lies
//! between them, because a request costs more than some kilobytes do. What a patch makes of what is here is not fetched. Where that would come near the whole file, the whole
//! file is fetched, which works with every host.

use super::index::Patch;
use super::recipe::{Part, Piece, Recipe};
use serde::Serialize;
use std::ops::Range;

/// Two ranges with at most this many bytes between them are fetched as one.
pub(super) const SMALL_GAP: u64 = 64 << 10;
/// At most this many ranges are fetched; beyond it, those with the least between them become one.
pub(super) const MOST_RUNS: usize = 32;
/// A patch is taken if it saves at least so many bytes: it may not come, and then it was a request for nothing.
pub(super) const PATCH_SAVES: u64 = 16 << 10;
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
    /// These parts.
    Parts(Parts),
    /// All of the carrier.
    Whole,
}

/// Parts of the files of a release that make what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// Makes what is missing of the code part. Fetched first: then what does not come can still be had as ranges.
    pub patch: Option<Patch>,
    /// The ranges with the rest.
    pub runs: Vec<Run>,
}

impl Parts {
    /// Bytes to fetch.
    fn bytes(&self) -> u64 {
        self.bytes_of_runs() + self.patch.as_ref().map_or(0, |patch| patch.size)
    }

    /// Bytes to fetch without the patch.
    pub(super) fn bytes_of_runs(&self) -> u64 {
        self.runs.iter().map(|run| run.range.end - run.range.start).sum()
    }

    fn requests(&self) -> u32 {
        u32::try_from(self.runs.len() + usize::from(self.patch.is_some())).unwrap_or(u32::MAX)
    }
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
    /// Whether a patch is part of it.
    pub(super) fn has_patch(&self) -> bool {
        matches!(&self.fetching, Fetching::Parts(parts) if parts.patch.is_some())
    }

    /// Plans the fetching of the pieces of `recipe` that are not `here`. `patch` is one that makes any piece of the code part.
    /// With `whole`, all of the carrier is fetched unless nothing is missing.
    pub(super) fn new(
        recipe: &Recipe,
        here: impl Fn(usize) -> bool,
        whole: bool,
        patch: Option<&Patch>,
    ) -> Self {
        let missing: Vec<(usize, &Piece)> =
            recipe.pieces.iter().enumerate().filter(|(number, _)| !here(*number)).collect();
        let lacking: u64 = missing.iter().map(|(_, piece)| piece.size * piece.places.len() as u64).sum();
        let fetching = if missing.is_empty() {
            Fetching::Nothing
        } else if whole {
            Fetching::Whole
        } else {
            let parts = parts(&missing, patch);
            if u128::from(parts.bytes()) * 100 > u128::from(recipe.size) * u128::from(WORTHWHILE) {
                Fetching::Whole
            } else {
                Fetching::Parts(parts)
            }
        };
        let (fetch_bytes, reused_bytes, requests) = match &fetching {
            Fetching::Nothing => (0, recipe.size, 0),
            Fetching::Parts(parts) => (parts.bytes(), recipe.size - lacking, parts.requests()),
            Fetching::Whole => (recipe.size, 0, 1),
        };
        Self { fetching, sums: Sums { size: recipe.size, fetch_bytes, reused_bytes, requests } }
    }
}

/// The parts that make what is `missing`: by the patch, if it saves something.
fn parts(missing: &[(usize, &Piece)], patch: Option<&Patch>) -> Parts {
    let by_ranges = Parts { patch: None, runs: runs(missing) };
    let Some(patch) = patch else { return by_ranges };
    let frames: Vec<_> = missing.iter().copied().filter(|(_, piece)| piece.part == Part::Carrier).collect();
    let patched = Parts { patch: Some(patch.clone()), runs: runs(&frames) };
    if patched.bytes() + PATCH_SAVES <= by_ranges.bytes() { patched } else { by_ranges }
}

/// The ranges that hold the pieces `missing`, few and with little between them.
fn runs(missing: &[(usize, &Piece)]) -> Vec<Run> {
    let mut single: Vec<Run> = missing
        .iter()
        .map(|(number, piece)| Run { part: piece.part, range: piece.range.clone(), pieces: vec![*number] })
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
    use super::*;
    use proptest::prelude::*;
    use stigmer_bundle::Digest;

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
            let plan = Plan::new(&recipe, is_here, whole, None);
            let missing: Vec<usize> = (0..recipe.pieces.len()).filter(|n| !is_here(*n)).collect();
            match &plan.fetching {
                Fetching::Nothing => prop_assert!(missing.is_empty() && plan.sums.fetch_bytes == 0),
                Fetching::Whole => {
                    prop_assert!(!missing.is_empty());
                    prop_assert_eq!((plan.sums.fetch_bytes, plan.sums.reused_bytes), (recipe.size, 0));
                }
                Fetching::Parts(Parts { patch, runs }) => {
                    prop_assert!(patch.is_none());
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
        let plan = Plan::new(&recipe, |number| number != 21, false, None);
        assert_eq!(plan.sums.fetch_bytes, 1_000_000);
        assert_eq!(plan.sums.requests, 1);
        assert_eq!(plan.sums.reused_bytes, recipe.size - 1_000_000);
    }

    #[test]
    fn a_patch_is_taken_where_it_saves_something() {
        let recipe = recipe(&[1_000_000; 10], 400_000);
        let patch = |size: u64| Patch {
            from: semver::Version::new(1, 0, 0),
            from_blake3: Digest::NONE,
            name: "patch".to_owned(),
            size,
            blake3: Digest::NONE,
        };
        // The first three chunks and one frame are missing: 600,000 bytes of code as ranges.
        let here = |number: usize| !matches!(number, 0 | 2 | 4 | 5);
        let plan = |size: u64, whole: bool| Plan::new(&recipe, here, whole, Some(&patch(size)));
        let small = plan(50_000, false);
        assert!(small.has_patch());
        assert_eq!((small.sums.fetch_bytes, small.sums.requests), (1_050_000, 2));
        assert_eq!(small.sums.reused_bytes, recipe.size - 3 * 400_000 - 1_000_000);
        let large = plan(600_000 - PATCH_SAVES + 1, false);
        assert!(!large.has_patch());
        assert_eq!(large.sums, Plan::new(&recipe, here, false, None).sums);
        assert!(plan(600_000 - PATCH_SAVES, false).has_patch());
        assert_eq!(plan(50_000, true).fetching, Fetching::Whole);
        // Where no chunk is missing there is nothing to patch; where no frame is, there is nothing else.
        assert!(!Plan::new(&recipe, |number| number != 5, false, Some(&patch(1))).has_patch());
        let only = Plan::new(&recipe, |number| number != 4, false, Some(&patch(1)));
        assert_eq!((only.sums.fetch_bytes, only.sums.requests), (1, 1));
    }

    #[test]
    fn when_most_is_missing_all_is_fetched() {
        let recipe = recipe(&[1_000_000; 10], 2);
        assert_eq!(Plan::new(&recipe, |number| number > 13, false, None).fetching, Fetching::Whole);
        assert!(matches!(Plan::new(&recipe, |number| number > 9, false, None).fetching, Fetching::Parts(_)));
        assert_eq!(Plan::new(&recipe, |number| number != 3, true, None).fetching, Fetching::Whole);
        assert_eq!(Plan::new(&recipe, |_| true, true, None).fetching, Fetching::Nothing);
    }
}
