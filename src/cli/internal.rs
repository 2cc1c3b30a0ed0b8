//! The hidden commands: the roles this executable plays as a process of the platform (one program, many names: the `BusyBox` pattern).
//!
//! Not listed in the help, because nobody needs them to use stigmer; each one's own `--help` works, because somebody
//! who looks for them has a reason.

use super::Outcome;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {}

impl Command {
    pub(super) fn run(self) -> Outcome {
        match self {}
    }
}
