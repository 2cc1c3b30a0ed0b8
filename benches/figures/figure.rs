//! What a measurement says: our value, the peer's, and the bar that was set before measuring.

use crate::measure::Samples;
use serde::Serialize;
use std::fmt;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Milliseconds,
    Bytes,
    BytesPerSecond,
    PerSecond,
    Percent,
}

impl Unit {
    /// `value` for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value.abs() < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Bytes => format!("{:.2} MB", value / 1e6),
            Self::BytesPerSecond => format!("{:.2} GB/s", value / 1e9),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Percent => format!("{value:.3} %"),
        }
    }
}

/// What was demanded of a row, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// Ours over the peer's is at most this.
    RatioAtMost(f64),
    /// Ours over the peer's is at least this.
    RatioAtLeast(f64),
    /// Ours is at most this much more than the peer's.
    OverAtMost(f64),
    /// Ours is at most this.
    AtMost(f64),
    /// Nothing was demanded: reported for comparison.
    Reported,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    /// Its name and its value.
    pub(crate) peer: Option<(String, f64)>,
    pub(crate) bar: Bar,
}

impl Row {
    pub(crate) fn alone(what: &str, unit: Unit, ours: f64, bar: Bar) -> Self {
        Self { what: what.to_owned(), unit, ours, peer: None, bar }
    }

    pub(crate) fn against(what: &str, unit: Unit, ours: f64, peer: (&str, f64), bar: Bar) -> Self {
        Self { what: what.to_owned(), unit, ours, peer: Some((peer.0.to_owned(), peer.1)), bar }
    }

    /// Ours over the peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|(_, theirs)| self.ours / theirs)
    }

    /// How much of the bar is used up: 1 is exactly the bar, less is better. `None` if there is none.
    pub(crate) fn used(&self) -> Option<f64> {
        match (self.bar, &self.peer) {
            (Bar::RatioAtMost(limit), Some(_)) => self.ratio().map(|ratio| ratio / limit),
            (Bar::RatioAtLeast(limit), Some(_)) => self.ratio().map(|ratio| limit / ratio),
            (Bar::OverAtMost(limit), Some((_, theirs))) => Some((self.ours - theirs) / limit),
            (Bar::AtMost(limit), _) => Some(self.ours / limit),
            _ => None,
        }
    }

    /// The value that the bar is about.
    pub(crate) fn judged(&self) -> String {
        match (self.bar, &self.peer) {
            (Bar::OverAtMost(_), Some((_, theirs))) => format!("{:+.2} ms", self.ours - theirs),
            (Bar::AtMost(_), _) => self.unit.show(self.ours),
            _ => self.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×")),
        }
    }

    /// The bar in words.
    pub(crate) fn demand(&self) -> String {
        match self.bar {
            Bar::RatioAtMost(limit) => format!("≤ {limit:.2} ×"),
            Bar::RatioAtLeast(limit) => format!("≥ {limit:.2} ×"),
            Bar::OverAtMost(limit) => format!("≤ {limit:+.2} ms"),
            Bar::AtMost(limit) => format!("≤ {}", self.unit.show(limit)),
            Bar::Reported => "–".to_owned(),
        }
    }

    /// `yes`, `no`, or a dash.
    pub(crate) fn met(&self) -> &'static str {
        match self.used() {
            Some(used) if used <= 1.0 => "yes",
            Some(_) => "**no**",
            None => "–",
        }
    }
}

/// One measurement: its rows, its raw runs, and how it was made.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// How it was measured, for the page.
    pub(crate) method: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) samples: Vec<Samples>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

impl Figure {
    pub(crate) fn not_measured(name: &'static str, reason: &str) -> Self {
        Self { name, missing: vec![reason.to_owned()], ..Self::default() }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for samples in &self.samples {
            writeln!(f, "  {samples}")?;
        }
        for row in &self.rows {
            let peer = row
                .peer
                .as_ref()
                .map_or_else(String::new, |(name, value)| format!(" vs {name} {}", row.unit.show(*value)));
            let (judged, demand, met) = (row.judged(), row.demand(), row.met());
            writeln!(
                f,
                "  {}: {}{peer} = {judged} (bar {demand}: {met})",
                row.what,
                row.unit.show(row.ours)
            )?;
        }
        for reason in &self.missing {
            writeln!(f, "  not measured: {reason}")?;
        }
        Ok(())
    }
}
