//! `stigmer server`: start, stop, restart, status and logs of the local platform.

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
