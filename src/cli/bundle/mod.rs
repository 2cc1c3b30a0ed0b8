//! `stigmer bundle`: pack, inspect, verify and extract carriers of any platform on any host, and publish them.

mod extract;
mod inspect;
mod pack;
mod publish;
mod publish_runner;
mod signing;
mod verify;

use super::{Failure, Outcome};
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // What each one does stands where its options are, so that `--help` tells all of it.
    Pack(pack::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Extract(extract::Args),
    #[command(hide = true)]
    Publish(publish::Args),
    #[command(hide = true, name = "publish-runner")]
    PublishRunner(publish_runner::Args),
    #[command(hide = true)]
    Keygen(signing::Keygen),
    #[command(hide = true)]
    Sign(signing::Sign),
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::Pack(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Extract(args) => args.run(),
            Command::Publish(args) => args.run(),
            Command::PublishRunner(args) => args.run(),
            Command::Keygen(args) => args.run(),
            Command::Sign(args) => args.run(),
        }
    }
}

/// The file a command is about: the one named, or this executable.
fn or_self(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(crate::platform::own_executable()?),
    }
}

/// A number of things for people: `1 frame`, `2 frames`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
