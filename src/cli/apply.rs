//! `stigmer apply`: what stands in files becomes what the platform has. All of it is checked before anything is changed.

use super::run::read_text;
use super::{Exit, Failure, Outcome, Output, api};
use crate::resource::source::{self, Written};
use crate::resource::{Kind, Resource};
use crate::services::client::{Api, ApiError};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use ureq::http::Method;

/// What a file of resources is called.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Under the help of `stigmer apply`.
const NOTE: &str = "\
A file holds agents and workflows, as YAML (also several documents) or JSON. A workflow may also stand there by itself, in the \
Serverless Workflow language. In a directory, all files that end in .yaml, .yml or .json are read, also in the directories below. \
If anything is wrong with any of them, nothing is changed. Exits with 65 then.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTE)]
pub(super) struct Args {
    /// A file or a directory (-: standard input); may be given several times
    #[arg(short, long, value_name = "FILE|DIR", required = true)]
    file: Vec<PathBuf>,
    /// Only say what would be changed. If stigmer is not running, only the files are checked
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A resource, and where it was read.
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
    outcome: String,
    digest: String,
    file: String,
    line: usize,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let found = read_all(&self.file)?;
        let mut api = match api::find() {
            Ok(api) => Some(api),
            Err(failure) if self.dry_run && failure.exit == Exit::NotRunning => {
                output.note("stigmer is not running: the files are checked, and compared with nothing");
                None
            }
            Err(failure) => return Err(failure),
        };
        let mut report = Report { dry_run: self.dry_run, resources: Vec::new() };
        for Found { file, line, resource } in found {
            let name = resource.metadata.name.clone();
            let digest = resource.digest();
            let outcome = match &mut api {
                None => "valid".to_owned(),
                Some(api) if self.dry_run => compare(api, &resource, &digest)?.to_owned(),
                Some(api) => put(api, &resource).map_err(|error| {
                    let failure =
                        Failure::from(error).cause(format!("{file}:{line}: {} {name}", resource.kind));
                    report.resources.iter().fold(failure, |failure, done| {
                        failure.cause(format!("before it, {} {} was {}", done.kind, done.name, done.outcome))
                    })
                })?,
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

/// The address of a resource.
pub(super) fn address(kind: Kind, name: &str) -> String {
    format!("/v1/resources/{}/{name}", kind.plural())
}

fn put(api: &mut Api, resource: &Resource) -> Result<String, ApiError> {
    let body = serde_json::to_value(resource).map_err(ApiError::Strange)?;
    let path = address(resource.kind, &resource.metadata.name);
    let answer: Value = api.call(&Method::PUT, &path, Some(&body))?;
    Ok(answer["outcome"].as_str().unwrap_or_default().to_owned())
}

/// What applying it would come to.
fn compare(api: &mut Api, resource: &Resource, digest: &str) -> Result<&'static str, ApiError> {
    match api.get::<Value>(&address(resource.kind, &resource.metadata.name)) {
        Ok(known) if known["digest"] == digest => Ok("unchanged"),
        Ok(_) => Ok("updated"),
        Err(ApiError::Refused { status: 404, .. }) => Ok("created"),
        Err(error) => Err(error),
    }
}

/// Everything in the files and directories, or everything that is wrong with it.
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
                "{file}:{line}:1: the {kind} `{name}` is in {}:{} already",
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
            .hint("nothing was changed; mend that and apply it again"));
    }
    if found.is_empty() {
        let places: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(Failure::new(
            Exit::Unavailable,
            format!("there is no resource in {}", places.join(", ")),
        )
        .hint(format!("{}/agents.md shows what one looks like", crate::DOCS_URL)));
    }
    Ok(found)
}

/// The files of resources in a directory and below it, in the order of their names.
fn gather(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let mut entries = fs_err::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a directory could lead back up here, and is left alone.
        if entry.file_type()?.is_dir() {
            gather(&path, files)?;
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
            && fs_err::metadata(&path)?.is_file()
        {
            files.push(path);
        }
    }
    Ok(())
}
