//! Filling the carrier in the making: from what is here, and from what the plan fetches.
//!
//! Everything is hashed before it is written, so that what the file holds is always worth keeping. Only where a whole carrier is
//! fetched is it written as it comes, and hashed when it is complete; a later run looks at it piece by piece.

use super::TrustError;
use super::error::UpdateError;
use super::http::{Client, FetchError, Receiver, Why};
use super::index::{IndexLimits, Patch};
use super::offer::Chosen;
use super::patch::Fitting;
use super::plan::{Fetching, Plan, Run, Sums};
use super::recipe::{Part, Piece, Recipe};
use super::seed::Seed;
use super::staging::Staging;
use std::io;
use std::ops::ControlFlow;
use stigmer_bundle::Digest;
use stigmer_store::Progress;

/// Copies the pieces that `seeds` have and `staging` lacks.
pub(super) fn copy(
    staging: &mut Staging,
    recipe: &Recipe,
    seeds: &[Seed],
    progress: &dyn Progress,
) -> io::Result<()> {
    for (number, piece) in recipe.pieces.iter().enumerate() {
        if staging.has(number) {
            continue;
        }
        if let Some(bytes) = seeds.iter().find_map(|seed| seed.find(piece.digest)) {
            staging.put(number, piece, &bytes)?;
            progress.advance(bytes.len() as u64);
        }
    }
    Ok(())
}

/// How a carrier was filled.
pub(super) struct Filled {
    /// What the plan that was carried out came to.
    pub sums: Sums,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Fills `staging` from `seeds`, and with what is fetched. What a host cannot give in parts is fetched whole.
pub(super) fn fill(
    client: &Client,
    offer: &Chosen,
    recipe: &Recipe,
    staging: &mut Staging,
    seeds: &[Seed],
    whole: bool,
    progress: &dyn Progress,
) -> Result<Filled, UpdateError> {
    copy(staging, recipe, seeds, progress)?;
    let mut filling = Filling { client, offer, recipe, staging, progress };
    let fitting = Fitting::find(&offer.patches, seeds);
    let mut plan = filling.plan(whole, fitting.map(|fitting| fitting.patch));
    let mut remarks = Vec::new();
    if let Some(fitting) = fitting.filter(|_| plan.has_patch())
        && let Some(reason) = filling.patch(&fitting)?
    {
        remarks.push(format!("more was fetched, because the patch of the code part {reason}"));
        plan = filling.plan(whole, None);
    }
    match filling.fetch(&plan) {
        Err(error) if is_rangeless(&error) && plan.fetching != Fetching::Whole => {
            remarks
                .push(format!("the whole file was fetched, because one of its parts could not be: {error}"));
            plan = filling.plan(true, None);
            filling.fetch(&plan)?;
        }
        other => other?,
    }
    Ok(Filled { sums: plan.sums, remarks })
}

/// What is needed to fetch.
struct Filling<'a> {
    client: &'a Client,
    offer: &'a Chosen,
    recipe: &'a Recipe,
    staging: &'a mut Staging,
    progress: &'a dyn Progress,
}

impl Filling<'_> {
    fn plan(&self, whole: bool, patch: Option<&Patch>) -> Plan {
        Plan::new(self.recipe, |number| self.staging.has(number), whole, patch)
    }

    /// Fetches the patch and puts in place what it makes of the code part. If that cannot be, says why not; what it made until then is right
    /// and stays.
    fn patch(&mut self, fitting: &Fitting<'_>) -> Result<Option<String>, UpdateError> {
        let patch = fitting.patch;
        let mut receiver = Held { bytes: Vec::new(), progress: self.progress };
        self.progress.begin("fetching", patch.size);
        let fetched = self.client.stream(fitting.url, 0..patch.size, patch.size, &mut receiver);
        self.progress.end();
        match fetched.map_err(UpdateError::from) {
            Err(error) if is_rangeless(&error) => return Ok(Some(format!("could not be had: {error}"))),
            other => other?,
        }
        if Digest::of(&receiver.bytes) != patch.blake3 {
            let what = "the whole".to_owned();
            return Err(TrustError::OtherContent { name: patch.name.clone(), what }.into());
        }
        let fits = fitting.apply(&receiver.bytes, self.staging, self.recipe, &self.offer.index)?;
        Ok((!fits).then(|| format!("from version {} does not fit", patch.from)))
    }

    /// Fetches what `plan` says, but for its patch.
    ///
    /// # Errors
    /// Also where a host gives no ranges: then the whole carrier is to be fetched ([`is_rangeless`]).
    fn fetch(&mut self, plan: &Plan) -> Result<(), UpdateError> {
        let bytes = match &plan.fetching {
            Fetching::Nothing => return Ok(()),
            Fetching::Whole => plan.sums.fetch_bytes,
            Fetching::Parts(parts) => parts.bytes_of_runs(),
        };
        self.progress.begin("fetching", bytes);
        let fetched = match &plan.fetching {
            Fetching::Parts(parts) => parts.runs.iter().try_for_each(|run| self.run(run)),
            Fetching::Nothing | Fetching::Whole => self.whole(),
        };
        self.progress.end();
        fetched
    }

    fn whole(&mut self) -> Result<(), UpdateError> {
        let mut receiver = Straight { staging: self.staging, at: 0, progress: self.progress };
        let size = self.recipe.size;
        Ok(self.client.stream(&self.offer.carrier_url, 0..size, size, &mut receiver)?)
    }

    fn run(&mut self, run: &Run) -> Result<(), UpdateError> {
        let (offer, recipe) = (self.offer, self.recipe);
        let (url, name, size) = match run.part {
            Part::Carrier => (&offer.carrier_url, &offer.index.carrier.name, recipe.size),
            Part::Code => (&offer.code_url, &offer.index.code.name, recipe.code_size),
        };
        let mut receiver = Pieces {
            recipe,
            run,
            name,
            staging: self.staging,
            progress: self.progress,
            at: run.range.start,
            next: 0,
            buffer: Vec::new(),
            wrong: None,
        };
        let outcome = self.client.stream(url, run.range.clone(), size, &mut receiver);
        if let Some(wrong) = receiver.wrong {
            return Err(wrong.into());
        }
        Ok(outcome?)
    }
}

/// Whether the host cannot give parts of this file, or has no such file, so that the whole carrier remains.
fn is_rangeless(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Fetch(FetchError { why: Why::NoRanges | Why::Missing, .. }))
}

/// Keeps a small file in memory.
struct Held<'a> {
    bytes: Vec<u8>,
    progress: &'a dyn Progress,
}

impl Receiver for Held<'_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }

    fn restart(&mut self) {
        self.bytes.clear();
    }
}

/// Writes a whole carrier as it comes.
struct Straight<'a> {
    staging: &'a mut Staging,
    at: u64,
    progress: &'a dyn Progress,
}

impl Receiver for Straight<'_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.staging.write(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }

    fn restart(&mut self) {
        self.at = 0;
    }
}

/// Takes the pieces out of a run.
struct Pieces<'a> {
    recipe: &'a Recipe,
    run: &'a Run,
    name: &'a str,
    staging: &'a mut Staging,
    progress: &'a dyn Progress,
    /// Where in the file the next byte stands.
    at: u64,
    /// Which piece of the run is next.
    next: usize,
    /// What came of it.
    buffer: Vec<u8>,
    /// What was not as signed.
    wrong: Option<TrustError>,
}

impl Receiver for Pieces<'_> {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.progress.advance(bytes.len() as u64);
        while !bytes.is_empty() {
            match self.step(bytes)? {
                ControlFlow::Continue(taken) => bytes = &bytes[taken..],
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        Ok(())
    }

    fn restart(&mut self) {
        (self.at, self.next) = (self.run.range.start, 0);
        self.buffer.clear();
    }
}

impl Pieces<'_> {
    /// Takes some of `bytes`, and says how many. Breaks when nothing more is wanted.
    fn step(&mut self, bytes: &[u8]) -> io::Result<ControlFlow<(), usize>> {
        let Some(number) = self.run.pieces.get(self.next).copied() else {
            return Ok(ControlFlow::Break(()));
        };
        let Some(piece) = self.recipe.pieces.get(number) else {
            return Ok(ControlFlow::Break(()));
        };
        let up_to = |end: u64| usize::try_from(end - self.at).unwrap_or(usize::MAX).min(bytes.len());
        if self.at < piece.range.start {
            // What lies between two pieces.
            let skipped = up_to(piece.range.start);
            self.at += skipped as u64;
            return Ok(ControlFlow::Continue(skipped));
        }
        let taken = up_to(piece.range.end);
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.at += taken as u64;
        if self.at == piece.range.end {
            let Some(content) = unpack(piece, &self.buffer) else {
                let (first, last) = (piece.range.start, piece.range.end.saturating_sub(1));
                self.wrong = Some(TrustError::OtherContent {
                    name: self.name.to_owned(),
                    what: format!("what stands from byte {first} to {last}"),
                });
                return Err(io::ErrorKind::InvalidData.into());
            };
            self.staging.put(number, piece, &content)?;
            self.buffer.clear();
            self.next += 1;
        }
        Ok(ControlFlow::Continue(taken))
    }
}

/// The bytes of `piece` as they belong into the carrier, from what was fetched; `None` if that is not what was signed.
fn unpack<'a>(piece: &Piece, fetched: &'a [u8]) -> Option<std::borrow::Cow<'a, [u8]>> {
    if Digest::of(fetched) != piece.fetched {
        return None;
    }
    if piece.part == Part::Carrier {
        return Some(fetched.into());
    }
    let size = usize::try_from(piece.size.min(IndexLimits::CHUNK_RAW)).ok()?;
    let raw = zstd::bulk::decompress(fetched, size).ok()?;
    (Digest::of(&raw) == piece.digest).then_some(raw.into())
}
