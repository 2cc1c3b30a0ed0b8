//! What came of it, in words and as JSON.

use crate::cli::Outcome;
use crate::cli::output::{Output, bytes};
use crate::update::{Installation, Offer, Sums, UpdateIndex};
use semver::Version;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What there is.
#[derive(Serialize)]
pub(in crate::cli) struct Checked {
    current: Version,
    newest: Version,
    update_available: bool,
    channel: String,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes_url: Option<String>,
}

impl Checked {
    pub(super) fn new(current: &Version, offer: &Offer) -> Self {
        Self {
            current: current.clone(),
            newest: offer.release.version.clone(),
            update_available: offer.is_newer_than(current),
            channel: offer.release.channel.as_str().to_owned(),
            date: offer.release.date.to_string(),
            notes_url: offer.release.notes_url.clone(),
        }
    }

    pub(super) fn print(&self, output: Output) -> Outcome {
        if output.is_json() {
            output.json(self)?;
            return Ok(0);
        }
        if self.update_available {
            output.line(format_args!("stigmer {} is there; this is {}", self.newest, self.current))?;
            if let Some(notes) = &self.notes_url {
                output.line(format_args!("what is new: {notes}"))?;
            }
            hint(output, "`stigmer self-update` takes it");
        } else if self.newest == self.current {
            output.line(format_args!("stigmer {} is installed already", self.current))?;
        } else {
            output.line(format_args!(
                "stigmer {} is newer than {}, which is offered",
                self.current, self.newest
            ))?;
        }
        Ok(0)
    }
}

/// What would be done.
#[derive(Serialize)]
pub(super) struct Planned<'a> {
    path: &'a Path,
    from: &'a Version,
    to: &'a Version,
    #[serde(flatten)]
    sums: Sums,
    /// Room needed beside the executable, which the new one and the previous one take.
    disk_bytes: u64,
}

impl<'a> Planned<'a> {
    pub(super) fn new(from: &'a Version, index: &'a UpdateIndex, path: &'a Path, sums: Sums) -> Self {
        Self { path, from, to: &index.version, sums, disk_bytes: sums.size }
    }

    pub(super) fn print(&self, output: Output) -> Outcome {
        if output.is_json() {
            output.json(self)?;
            return Ok(0);
        }
        output.line(format_args!(
            "would update {} from {} to {}",
            self.path.display(),
            self.from,
            self.to
        ))?;
        output.line(format_args!(
            "  fetch  {} in {}",
            bytes(self.sums.fetch_bytes),
            requests(self.sums.requests)
        ))?;
        output.line(format_args!(
            "  reuse  {} of {}",
            bytes(self.sums.reused_bytes),
            bytes(self.sums.size)
        ))?;
        output.line(format_args!("  disk   {} more", bytes(self.disk_bytes)))?;
        Ok(0)
    }
}

/// What was done.
#[derive(Serialize)]
pub(in crate::cli) struct Updated {
    path: PathBuf,
    previous: PathBuf,
    pub(in crate::cli) from: Version,
    pub(in crate::cli) to: Version,
    size: u64,
    fetched_bytes: u64,
    reused_bytes: u64,
    server_running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes_url: Option<String>,
}

impl Updated {
    pub(super) fn new(
        from: &Version,
        to: &Version,
        installation: &Installation,
        notes_url: Option<String>,
        fetched_bytes: u64,
        server_running: bool,
    ) -> Self {
        Self {
            path: installation.path.clone(),
            previous: installation.previous.clone(),
            from: from.clone(),
            to: to.clone(),
            size: installation.sums.size,
            fetched_bytes,
            reused_bytes: installation.sums.reused_bytes,
            server_running,
            notes_url,
        }
    }

    pub(super) fn print(&self, output: Output) -> Outcome {
        if output.is_json() {
            output.json(self)?;
            return Ok(0);
        }
        output.line(format_args!("stigmer {} is installed; it was {}", self.to, self.from))?;
        if self.fetched_bytes > 0 {
            output.note(format_args!(
                "  fetched {}, found {} of {} here",
                bytes(self.fetched_bytes),
                bytes(self.reused_bytes),
                bytes(self.size)
            ));
        }
        if let Some(notes) = &self.notes_url {
            output.note(format_args!("  what is new: {notes}"));
        }
        if self.server_running {
            hint(output, "what runs goes on as it was; `stigmer server restart` moves it over");
        }
        hint(
            output,
            &format!(
                "to go back: `stigmer self-update --rollback`, or, if it does not start: mv '{}' '{}'",
                self.previous.display(),
                self.path.display()
            ),
        );
        Ok(0)
    }
}

#[derive(Serialize)]
struct RolledBack<'a> {
    path: &'a Path,
    from: &'a str,
    to: &'a str,
    server_running: bool,
}

pub(super) fn rolled_back(path: &Path, version: &str, server_running: bool, output: Output) -> Outcome {
    if output.is_json() {
        output.json(&RolledBack { path, from: crate::VERSION, to: version, server_running })?;
        return Ok(0);
    }
    output.line(format_args!("stigmer {version} is installed again; it was {}", crate::VERSION))?;
    if server_running {
        hint(output, "what runs goes on as it was; `stigmer server restart` moves it over");
    }
    hint(output, "`stigmer self-update --rollback` once more undoes it");
    Ok(0)
}

fn requests(count: u32) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

fn hint(output: Output, text: &str) {
    output.note(format_args!("   {} {text}", console::style("hint:").cyan().for_stderr()));
}
