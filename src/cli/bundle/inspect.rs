//! `stigmer bundle inspect`.

use super::super::output::bytes;
use super::super::{Outcome, Output};
use super::{count, or_self};
use crate::bundle::{Carrier, CodePart, Component, Digest, Entry, EntryKind, FORMAT_VERSION};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Show what a carrier holds.
///
/// Reads footer and index only, of a carrier of any platform; `stigmer bundle verify` checks every byte.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The carrier; this executable if left out
    file: Option<PathBuf>,
    /// List the files too
    #[arg(long)]
    files: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    carrier: &'static str,
    format: u32,
    size: u64,
    bundle_at: u64,
    bundle_size: u64,
    index_size: u64,
    code: Code,
    bundle_digest: Digest,
    components: Vec<Row<'a>>,
}

/// What is known of the bytes around the bundle.
#[derive(Serialize)]
struct Code {
    size: u64,
    digest: Digest,
    status: &'static str,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    version: &'a str,
    digest: Digest,
    entrypoint: &'a str,
    files: usize,
    raw: u64,
    compressed: u64,
    frames: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<&'a [Entry]>,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let path = or_self(self.file)?;
        let carrier = Carrier::open(&path)?;
        let index = carrier.index()?;
        let footer = carrier.footer();
        let range = carrier.range();
        let (digest, size) = carrier.code_digest();
        let status = match carrier.code_part() {
            CodePart::NotRecorded => "not recorded",
            CodePart::AsPacked => "as packed",
            CodePart::Changed => "changed since packing",
        };
        let report = Report {
            path: &path,
            carrier: carrier.kind().name,
            format: FORMAT_VERSION,
            size: carrier.bytes().len() as u64,
            bundle_at: range.start,
            bundle_size: range.end - range.start,
            index_size: footer.index_len,
            code: Code { size, digest, status },
            bundle_digest: footer.bundle_digest(),
            components: index.components.iter().map(|component| row(component, self.files)).collect(),
        };
        let output = Output::new(self.json);
        if output.is_json() {
            output.json(&report)?;
        } else {
            print(output, &report)?;
        }
        Ok(0)
    }
}

fn row(component: &Component, with_entries: bool) -> Row<'_> {
    Row {
        name: &component.name,
        version: &component.version,
        digest: component.digest,
        entrypoint: component.entrypoint.as_str(),
        files: component.files().count(),
        raw: component.raw_len(),
        compressed: component.compressed_len(),
        frames: component.frames.len(),
        entries: with_entries.then_some(&component.entries[..]),
    }
}

fn print(output: Output, report: &Report<'_>) -> std::io::Result<()> {
    output.line(format_args!("{}", report.path.display()))?;
    output.line(format_args!("  carrier    {}, {}", report.carrier, bytes(report.size)))?;
    output.line(format_args!(
        "  bundle     format {}, {} from byte {}, index {}",
        report.format,
        bytes(report.bundle_size),
        report.bundle_at,
        bytes(report.index_size)
    ))?;
    output.line(format_args!("  code part  {}, {}", bytes(report.code.size), report.code.status))?;
    for row in &report.components {
        output.line(format_args!("{} {}", row.name, row.version))?;
        output.line(format_args!("  digest     {}", row.digest))?;
        output.line(format_args!("  entrypoint {}", row.entrypoint))?;
        output.line(format_args!(
            "  content    {}, {}, compressed to {} in {}",
            count(row.files, "file"),
            bytes(row.raw),
            bytes(row.compressed),
            count(row.frames, "frame")
        ))?;
        for entry in row.entries.unwrap_or_default() {
            output.line(format_args!("  {}", describe(entry)))?;
        }
    }
    Ok(())
}

fn describe(Entry { path, kind }: &Entry) -> String {
    match kind {
        EntryKind::Dir => format!("d {:>12} {:12} {path}/", "", ""),
        EntryKind::File { exec, size, blake3, .. } => {
            format!("{} {size:>12} {} {path}", if *exec { 'x' } else { 'f' }, blake3.short())
        }
        EntryKind::Link { target } => format!("l {:>12} {:12} {path} -> {target}", "", ""),
    }
}
