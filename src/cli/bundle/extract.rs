//! `stigmer bundle extract`.

use super::super::output::bytes;
use super::super::{Exit, Failure, Outcome, Output};
use super::{count, or_self};
use crate::bundle::{Carrier, Component, EntryKind, TreePath};
use serde::Serialize;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

/// Take a component, or one file of it, out of a carrier.
///
/// Works on a carrier of any platform, on any host. Everything is verified before it gets its name; nothing is
/// overwritten, and nothing is left behind if it fails.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The carrier; this executable if left out
    file: Option<PathBuf>,
    /// The component
    #[arg(long, value_name = "NAME")]
    component: String,
    /// Only this file of it
    #[arg(long = "file", value_name = "PATH")]
    only: Option<String>,
    /// The directory to make, or with --file the file; `-` is standard output
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    component: &'a str,
    files: usize,
    bytes: u64,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let path = or_self(self.file)?;
        let carrier = Carrier::open(&path)?;
        let component = carrier.component(&self.component)?;
        let to_stdout = self.to == Path::new("-");
        let (files, size) = match &self.only {
            Some(file) => {
                let (file, size) = listed(&component, file)?;
                if to_stdout {
                    print(&carrier, &component, &file)?;
                    return Ok(0);
                }
                refuse_existing(&self.to)?;
                carrier.extract_file(&component, &file, &self.to)?;
                (1, size)
            }
            None if to_stdout => {
                return Err(Failure::new(Exit::Usage, "a whole component cannot go to standard output")
                    .hint("name one file with --file, or a directory with --to"));
            }
            None => {
                refuse_existing(&self.to)?;
                carrier.extract(&component, &self.to)?;
                (component.files().count(), component.raw_len())
            }
        };
        let output = Output::new(self.json);
        if output.is_json() {
            output.json(&Report { path: &self.to, component: &component.name, files, bytes: size })?;
        } else {
            output.note(format_args!(
                "{}: {}, {}, verified",
                self.to.display(),
                count(files, "file"),
                bytes(size)
            ));
        }
        Ok(0)
    }
}

/// The file of the component that `text` names, and its size.
fn listed(component: &Component, text: &str) -> Result<(TreePath, u64), Failure> {
    let refuse = |why: String| {
        Failure::new(Exit::Unavailable, why)
            .hint("`stigmer bundle inspect --files` lists the files of every component")
    };
    let Some(entry) = component.entries.iter().find(|entry| entry.path.as_str() == text) else {
        return Err(refuse(format!("component `{}` has no file `{text}`", component.name)));
    };
    match &entry.kind {
        EntryKind::File { size, .. } => Ok((entry.path.clone(), *size)),
        EntryKind::Link { target } => {
            Err(refuse(format!("`{text}` of component `{}` is a link to `{target}`", component.name)))
        }
        EntryKind::Dir => Err(refuse(format!("`{text}` of component `{}` is a directory", component.name))),
    }
}

/// Standard output cannot take back what was wrong, so the file is verified whole before its first byte is printed.
fn print(carrier: &Carrier, component: &Component, file: &TreePath) -> Result<(), Failure> {
    let mut spool = tempfile::tempfile()?;
    carrier.read_file(component, file, fs_err::File::from_parts(spool.try_clone()?, "temporary file"))?;
    spool.rewind()?;
    io::copy(&mut spool, &mut io::stdout().lock())?;
    Ok(())
}

fn refuse_existing(to: &Path) -> Result<(), Failure> {
    if to.symlink_metadata().is_ok() {
        return Err(Failure::new(Exit::CannotCreate, format!("`{}` exists already", to.display()))
            .hint("nothing is overwritten: name a path that does not exist, or remove it first"));
    }
    Ok(())
}
