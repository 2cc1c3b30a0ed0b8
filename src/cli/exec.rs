//! `stigmer exec NAME -- ARGS`: become a bundled component.

use super::Outcome;
use std::ffi::OsString;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component to run
    name: String,
    /// Its arguments
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// The warm start, taken before any option parser is built. `None` if the command line is not a plain `exec`.
pub(super) fn fast_path(_args: &[OsString]) -> Option<Outcome> {
    None
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let _ = (self.name, self.args);
        Ok(0)
    }
}
