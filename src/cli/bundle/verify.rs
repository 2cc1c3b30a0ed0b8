//! `stigmer bundle verify`.

use super::super::output::bytes;
use super::super::{Failure, Outcome, Output};
use super::{count, or_self, signing};
use crate::bundle::{BundleError, Carrier, CodePart, TreePath};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Something in the bundle is not as it was packed.
const DAMAGED: u8 = 1;
/// There is no bundle.
const MISSING: u8 = 2;
/// It could not be checked.
const UNCHECKED: u8 = 4;
/// The bytes around the bundle are not those it was packed onto.
const CODE_CHANGED: u8 = 8;

/// How many lost files are named for a person; `--json` names all.
const NAMED: usize = 20;

/// Check every byte of a carrier.
///
/// Checks footer, index, every frame and every file, and names everything that is wrong. With --public-key or --signature it
/// checks instead the signature in FILE.minisig, and of an update index also the carrier beside it.
///
/// The exit code is a sum: 1 the bundle is damaged, 2 there is none, 4 it could not be checked (unreadable, or of
/// an unknown version), 8 the executable's own bytes changed since packing, as `strip` and `patchelf` change them; the
/// bundle may be whole all the same. 0: all is as it was packed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The carrier; this executable if left out
    file: Option<PathBuf>,
    /// Check FILE.minisig: the key of minisign, `RW…` or a file, that must have signed
    #[arg(long, value_name = "KEY", requires = "file")]
    public_key: Option<String>,
    /// Check FILE.minisig: any key that this executable trusts must have signed
    #[arg(long, requires = "file", conflicts_with = "public_key")]
    signature: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    exit_code: u8,
    bundle: &'static str,
    code_part: &'static str,
    files: usize,
    bytes: u64,
    problems: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    what: String,
    files: Vec<TreePath>,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let path = or_self(self.file)?;
        if self.signature || self.public_key.is_some() {
            return signing::verify(&path, self.public_key.as_deref(), self.json);
        }
        let output = Output::new(self.json);
        let report = check(&path);
        if output.is_json() {
            output.json(&report)?;
        } else {
            print(output, &report)?;
        }
        Ok(report.exit_code)
    }
}

fn check(path: &Path) -> Report<'_> {
    let mut report = Report {
        path,
        exit_code: 0,
        bundle: "intact",
        code_part: "unknown",
        files: 0,
        bytes: 0,
        problems: Vec::new(),
    };
    let carrier = match Carrier::open(path) {
        Ok(carrier) => carrier,
        Err(error) => {
            report.failed(&error);
            return report;
        }
    };
    report.code(carrier.code_part());
    match carrier.verify() {
        Err(error) => report.failed(&error),
        Ok(verified) => {
            report.files = verified.files;
            report.bytes = verified.bytes;
            report.problems = verified
                .problems
                .into_iter()
                .map(|problem| Row {
                    component: Some(problem.component),
                    what: problem.what,
                    files: problem.files,
                })
                .collect();
            if !report.problems.is_empty() {
                report.bundle = "damaged";
                report.exit_code |= DAMAGED;
            }
        }
    }
    report
}

impl Report<'_> {
    fn code(&mut self, code: CodePart) {
        self.code_part = match code {
            CodePart::AsPacked => "as packed",
            CodePart::Changed => {
                self.exit_code |= CODE_CHANGED;
                "changed since packing"
            }
            CodePart::NotRecorded => "not recorded: a signature covers that, if there is one",
        };
    }

    fn failed(&mut self, error: &BundleError) {
        let (bundle, code, what) = match error {
            BundleError::Bare { .. } => ("missing", MISSING, "it carries no bundle".into()),
            BundleError::Damaged { damage, .. } => ("damaged", DAMAGED, damage.to_string()),
            other => ("not checked", UNCHECKED, other.to_string()),
        };
        self.bundle = bundle;
        self.exit_code |= code;
        self.problems.push(Row { component: None, what, files: Vec::new() });
    }
}

fn print(output: Output, report: &Report<'_>) -> Result<(), Failure> {
    for problem in &report.problems {
        match &problem.component {
            Some(component) => output.line(format_args!("{component}: {}", problem.what))?,
            None => output.line(&problem.what)?,
        }
        for file in problem.files.iter().take(NAMED) {
            output.line(format_args!("  lost: {file}"))?;
        }
        if let Some(more) = problem.files.len().checked_sub(NAMED).filter(|more| *more != 0) {
            output.line(format_args!("  lost: {more} more, all named with --json"))?;
        }
    }
    output.line(format_args!(
        "{}: bundle {}, {}, {}; code part {}",
        report.path.display(),
        report.bundle,
        count(report.files, "file"),
        bytes(report.bytes),
        report.code_part
    ))?;
    Ok(())
}
