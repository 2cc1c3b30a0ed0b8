//! `stigmer apply`: creates and updates agents and workflows from files. All files are checked before anything is changed.

use super::run::read_text;
use super::{Exit, Failure, Outcome, Output, api};
use crate::resource::{Kind, Resource};
use crate::services::client::{ApiError, Client};
use crate::source::{self, Written};
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use stigmer_protocol::DefinitionDigest;
use stigmer_protocol::api::resources::ApplyOutcome;

/// Extensions of resource files.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Under the help of `stigmer apply`.
const NOTE: &str = "\
A file contains agents and workflows as YAML (one or more documents) or JSON. A bare workflow in the workflow language is accepted, \
too. In a directory, all .yaml, .yml and .json files are read, including those in subdirectories. If any file has an error, nothing is \
changed and the exit code is 65.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTE)]
pub(super) struct Args {
    /// File or directory (-: standard input); may be repeated
    #[arg(short, long, value_name = "FILE|DIR", required = true)]
    file: Vec<PathBuf>,
    /// Show what would change; if stigmer is not running, only check the files
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A resource and its place in a file.
#[derive(Debug)]
struct Found {
    file: String,
    line: usize,
    resource: Resource,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    resources: Vec<Applied>,
}

#[derive(Serialize)]
struct Applied {
    kind: &'static str,
    name: String,
    /// `created`, `updated` or `unchanged`; `valid` if it was not compared with anything.
    outcome: &'static str,
    digest: DefinitionDigest,
    file: String,
    line: usize,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let found = read_all(&self.file)?;
        let mut client = match api::connect() {
            Ok(client) => Some(client),
            Err(failure) if self.dry_run && failure.exit == Exit::NotRunning => {
                output.note("stigmer is not running: only the files were checked");
                None
            }
            Err(failure) => return Err(failure),
        };
        let mut report = Report { dry_run: self.dry_run, resources: Vec::new() };
        for Found { file, line, resource } in found {
            let name = resource.metadata.name.clone();
            let digest = resource.digest();
            let outcome = match &mut client {
                None => "valid",
                Some(client) if self.dry_run => compare(client, &resource, &digest)?.word(),
                Some(client) => client
                    .resources()
                    .put(&resource)
                    .map_err(|error| {
                        let failure =
                            Failure::from(error).cause(format!("{file}:{line}: {} {name}", resource.kind));
                        report.resources.iter().fold(failure, |failure, done| {
                            failure.cause(format!(
                                "already applied: {} {} ({})",
                                done.kind, done.name, done.outcome
                            ))
                        })
                    })?
                    .outcome
                    .word(),
            };
            if !output.is_json() {
                let would = if self.dry_run && outcome != "valid" { " (dry run)" } else { "" };
                output.line(format_args!("{} {name} {outcome}{would}", resource.kind))?;
            }
            report.resources.push(Applied { kind: resource.kind.word(), name, outcome, digest, file, line });
        }
        if output.is_json() {
            output.json(&report)?;
        }
        Ok(0)
    }
}

/// Determines the outcome that applying the resource would have.
fn compare(
    client: &mut Client,
    resource: &Resource,
    digest: &DefinitionDigest,
) -> Result<ApplyOutcome, ApiError> {
    match client.resources().get(resource.kind, &resource.metadata.name) {
        Ok(stored) if stored.digest == *digest => Ok(ApplyOutcome::Unchanged),
        Ok(_) => Ok(ApplyOutcome::Updated),
        Err(error) if error.status() == Some(404) => Ok(ApplyOutcome::Created),
        Err(error) => Err(error),
    }
}

/// Reads all files and directories, or reports every error in them.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path != Path::new("-") && fs_err::metadata(path)?.is_dir() {
            gather(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    let (mut found, mut mistakes) = (Vec::new(), Vec::new());
    for path in &files {
        let file = if path == Path::new("-") { "-".to_owned() } else { path.display().to_string() };
        match source::read(&read_text(path)?) {
            Ok(written) => found.extend(written.into_iter().map(|Written { resource, line }| Found {
                file: file.clone(),
                line,
                resource,
            })),
            Err(wrong) => mistakes.extend(wrong.iter().map(|mistake| format!("{file}:{mistake}"))),
        }
    }
    let mut seen: HashMap<(Kind, &str), &Found> = HashMap::new();
    for one in &found {
        let Found { file, line, resource } = one;
        if let Some(first) = seen.insert((resource.kind, &resource.metadata.name), one) {
            let (kind, name) = (resource.kind, &resource.metadata.name);
            mistakes.push(format!(
                "{file}:{line}:1: duplicate {kind} `{name}`: already in {}:{}",
                first.file, first.line
            ));
        }
    }
    if let Some(first) = mistakes.first() {
        let failure = Failure::new(Exit::Damaged, first.clone());
        return Err(mistakes
            .iter()
            .skip(1)
            .fold(failure, |failure, more| failure.more(more.clone()))
            .hint("nothing was changed; fix the files and apply them again"));
    }
    if found.is_empty() {
        let places: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(Failure::new(
            Exit::Unavailable,
            format!("no agents or workflows found in {}", places.join(", ")),
        )
        .hint(format!("see {}/agents.md for an example", crate::DOCS_URL)));
    }
    Ok(found)
}

/// Collects the resource files of a directory and its subdirectories, sorted by name.
fn gather(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let mut entries = fs_err::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a directory could lead back up, so it is not followed.
        if entry.file_type()?.is_dir() {
            gather(&path, files)?;
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
            && fs_err::metadata(&path)?.is_file()
        {
            files.push(path);
        }
    }
    Ok(())
}
