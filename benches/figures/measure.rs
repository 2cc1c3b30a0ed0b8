//! Taking turns, and what a series of runs says.
//!
//! The contestants of a figure run one after the other in every round, each round beginning with another of them, so that
//! whatever else the machine does meanwhile happens to all alike. The median is published, because a run can be disturbed in one
//! direction only; the quartiles say by how much.

use crate::Outcome;
use crate::figure::Unit;
use serde::Serialize;
use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One of those who take turns: a name, and one run of it, which times itself.
pub(crate) struct Contestant<'a> {
    name: String,
    run: Box<dyn FnMut() -> Outcome<Duration> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Outcome<Duration> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// The runs of one contestant.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Samples {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) runs: Vec<f64>,
}

impl Samples {
    /// The value below which the share `q` of the runs lies.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        let place = q * as_float(sorted.len().saturating_sub(1));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the runs")]
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        match (sorted.get(below), sorted.get(above)) {
            (Some(low), Some(high)) => low + (high - low) * place.fract(),
            _ => f64::NAN,
        }
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |q| self.unit.show(self.quantile(q));
        let (name, count) = (&self.name, self.runs.len());
        write!(
            f,
            "{name}: {} (quartiles {} to {}, best {}, {count} runs)",
            show(0.5),
            show(0.25),
            show(0.75),
            show(0.0)
        )
    }
}

/// Lets the contestants take turns: one unrecorded round, then `rounds`. The samples come in the contestants' order.
pub(crate) fn take_turns(rounds: usize, mut contestants: Vec<Contestant<'_>>) -> Outcome<Vec<Samples>> {
    let unit = Unit::Milliseconds;
    let mut samples: Vec<Samples> =
        contestants.iter().map(|one| Samples { name: one.name.clone(), unit, runs: Vec::new() }).collect();
    let count = contestants.len();
    for round in 0..=rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            let taken = (contestants[at].run)().map_err(|error| format!("{}: {error}", samples[at].name))?;
            if round > 0 {
                // To the tenth of a microsecond: finer than any clock here, and short in the published file.
                samples[at].runs.push((taken.as_secs_f64() * 1e7).round() / 1e4);
            }
        }
    }
    Ok(samples)
}

/// Runs `command` to its end without a terminal, and says how long that took.
pub(crate) fn time(command: &mut Command) -> Outcome<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let taken = start.elapsed();
    if status.success() { Ok(taken) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) fn as_float(count: usize) -> f64 {
    count as f64
}

/// A number of bytes as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
pub(crate) fn bytes(count: u64) -> f64 {
    count as f64
}
