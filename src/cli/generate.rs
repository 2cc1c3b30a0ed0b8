//! What is generated from the command line's definition, so that it cannot drift from it: completions and man pages.

use super::{Outcome, command};
use crate::supervise::components::Components;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, components: Components) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(components), "stigmer", &mut script);
        super::Output::new(false).line(String::from_utf8_lossy(&script).trim_end())?;
        Ok(0)
    }
}

/// Write the man pages of every listed command
#[derive(Debug, clap::Args)]
pub(super) struct ManPages {
    /// The directory to write them to; it is created
    directory: PathBuf,
}

impl ManPages {
    pub(super) fn run(self, components: Components) -> Outcome {
        fs_err::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(command(components), &self.directory)?;
        Ok(0)
    }
}
