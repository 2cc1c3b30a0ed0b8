//! `stigmer cache`: what is materialized, whether it is sound, and how to get rid of it.

use super::Outcome;
use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

impl Args {
    pub(super) fn run(self) -> Outcome {
        match self.command {}
    }
}
