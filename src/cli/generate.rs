//! What is generated from the command line's definition, so that it cannot drift from it: completions and man pages.

use super::{Cli, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "stigmer", &mut script);
        super::Output::new(false).line(String::from_utf8_lossy(&script).trim_end())?;
        Ok(0)
    }
}
