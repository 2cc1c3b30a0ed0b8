//! `stigmer bundle publish-runner`.

use super::super::output::bytes;
use super::super::{Outcome, Output};
use super::{publish, signing};
use crate::bundle::Cutting;
use crate::update::runner::{Publishing, RunnerName};
use crate::update::{Issued, Target};
use std::path::PathBuf;

/// Make what is uploaded for an agent-runner that is published by itself, and sign it.
///
/// Below DIR: NAME/TARGET/agent-runner.bundle, and beside it agent-runner.json and its signature. `stigmer server --version NAME` runs it
/// where the key is trusted. To publish under the same name again replaces it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name it is published under, such as dev-test
    #[arg(long, value_name = "NAME")]
    name: RunnerName,
    /// The tree of the agent-runner
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
    /// The machines it is for; this one if left out
    #[arg(long, value_name = "TARGET")]
    target: Option<Target>,
    /// The secret key that signs (see `stigmer bundle keygen`)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// When it is issued, like 2026-03-01T12:00:00Z; `SOURCE_DATE_EPOCH`, or else now, if left out
    #[arg(long, value_name = "TIME")]
    issued: Option<Issued>,
    /// How hard to compress
    #[arg(long, value_name = "N", default_value_t = Cutting::default().level, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let target = self.target.or_else(Target::own).ok_or(crate::update::runner::RunnerError::NoTarget)?;
        let issued = match self.issued {
            Some(issued) => issued,
            None => publish::from_environment()?.unwrap_or_else(Issued::now),
        };
        let key = signing::open(&self.key)?;
        let publishing = Publishing {
            tree: &self.tree,
            name: self.name,
            target,
            issued,
            key: &key,
            out: &self.out,
            level: self.level,
        };
        let (path, index) = publishing.run()?;
        output.note(format_args!(
            "{}: agent-runner {} for {target} as `{}`, {}",
            path.display(),
            index.version,
            index.name,
            bytes(index.bundle.size)
        ));
        if output.is_json() {
            output.json(&index)?;
        }
        Ok(0)
    }
}
