//! `stigmer bundle pack`.

use super::super::output::bytes;
use super::super::{Outcome, Output};
use super::count;
use crate::bundle::{Cutting, Digest, Packing, SelfCheck, is_identifier};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make a carrier of a bare binary and the trees of its components.
///
/// Each tree says in its `component.json` what it is: `name`, `version`, `entrypoint`, and in `self_check` the arguments
/// with which the entrypoint checks itself. The same input gives the same bytes on any host, for a binary of any
/// platform.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bare binary that will carry the bundle
    #[arg(long, value_name = "EXE")]
    base: PathBuf,
    /// A component's name and the directory of its tree; may be given up to four times
    #[arg(long = "component", value_name = "NAME=DIR", required = true, value_parser = component)]
    components: Vec<(String, PathBuf)>,
    /// The carrier to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How hard to compress
    #[arg(long, value_name = "N", default_value_t = Cutting::default().level, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Do not let the components check themselves first
    #[arg(long)]
    no_self_check: bool,
    /// The name under which a macOS carrier is signed ad hoc
    #[arg(long, value_name = "NAME", default_value = "stigmer", value_parser = identifier)]
    identifier: String,
    /// Leave a macOS carrier unsigned, for `codesign` to sign it with an identity
    #[arg(long, conflicts_with = "identifier")]
    no_sign: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn identifier(text: &str) -> Result<String, String> {
    if is_identifier(text) {
        Ok(text.to_owned())
    } else {
        Err("it has not 1 to 255 letters, digits, dots, dashes and low lines".into())
    }
}

fn component(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !dir.is_empty() => Ok((name.to_owned(), dir.into())),
        _ => Err("it has not the form NAME=DIR".into()),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    carrier: &'static str,
    size: u64,
    signed: bool,
    components: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    version: &'a str,
    digest: Digest,
    files: usize,
    raw: u64,
    compressed: u64,
    frames: usize,
    self_check: &'static str,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let cutting = Cutting { level: self.level, ..Cutting::default() };
        let packed = Packing {
            base: &self.base,
            components: &self.components,
            out: &self.out,
            cutting,
            self_check: !self.no_self_check,
            identifier: (!self.no_sign).then_some(self.identifier.as_str()),
        }
        .run()?;
        let rows: Vec<Row<'_>> = packed
            .index
            .components
            .iter()
            .zip(&packed.self_checks)
            .map(|(component, check)| Row {
                name: &component.name,
                version: &component.version,
                digest: component.digest,
                files: component.files().count(),
                raw: component.raw_len(),
                compressed: component.compressed_len(),
                frames: component.frames.len(),
                self_check: word(*check),
            })
            .collect();
        for row in &rows {
            output.note(format_args!(
                "{} {}: {}, {} in {} of {}; self-check {}",
                row.name,
                row.version,
                count(row.files, "file"),
                bytes(row.raw),
                count(row.frames, "frame"),
                bytes(row.compressed),
                row.self_check
            ));
        }
        output.note(format_args!(
            "{}: {} carrier, {}",
            self.out.display(),
            packed.kind.name,
            bytes(packed.size)
        ));
        if packed.signed {
            output.note(format_args!("signed ad hoc as {}", self.identifier));
        } else if packed.kind.must_be_signed {
            output.note(
                "it has no signature: sign it now, ad hoc or with an identity, or macOS will not run it",
            );
        }
        if output.is_json() {
            output.json(&Report {
                path: &self.out,
                carrier: packed.kind.name,
                size: packed.size,
                signed: packed.signed,
                components: rows,
            })?;
        }
        Ok(0)
    }
}

fn word(check: SelfCheck) -> &'static str {
    match check {
        SelfCheck::Passed => "passed",
        SelfCheck::None => "skipped: component.json names none",
        SelfCheck::Foreign => "skipped: the entrypoint is for another platform",
        SelfCheck::NotWanted => "skipped: --no-self-check",
    }
}
