//! `stigmer bundle`: pack, inspect, verify and extract carriers of any platform on any host.

mod extract;
mod inspect;
mod pack;
mod verify;

use super::{Failure, Outcome};
use crate::bundle::CarrierKind;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a carrier of a bare binary and the trees of its components
    Pack(pack::Args),
    /// Show what a carrier holds
    Inspect(inspect::Args),
    /// Check every byte of a carrier
    Verify(verify::Args),
    /// Take a component, or one file of it, out of a carrier
    Extract(extract::Args),
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::Pack(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Extract(args) => args.run(),
        }
    }
}

/// The file a command is about: the one named, or this executable.
fn or_self(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(std::env::current_exe()?),
    }
}

fn kind_name(kind: CarrierKind) -> &'static str {
    match kind {
        CarrierKind::Elf => "ELF",
        CarrierKind::MachO => "Mach-O",
        CarrierKind::Pe => "PE",
        CarrierKind::Plain => "plain",
    }
}
