//! `stigmer exec NAME -- ARGS`: become a bundled component.
//!
//! The warm start is decided before any option parser is built: footer, stamp, one `lstat`, `exec`. Everything that is not
//! exactly that takes the ordinary way, and so does an `exec` that finds its program gone.

use super::progress::Shown;
use super::{Exit, Failure, Outcome, Output};
use crate::bundle::Carrier;
use crate::component::{self, NOEXEC_HINT};
use crate::home::Home;
use crate::store::{self, Depth, Lease};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Materialize the component if needed, then run it in place of this process
///
/// Everything behind `--` goes to the component. Its exit code is this command's; if it cannot be started, the code
/// is one of those in docs/exit-codes.md.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component to run
    name: String,
    /// Run this local build instead of the bundled component: a program, or a one-folder build
    #[arg(long, value_name = "PATH")]
    use_local_binary: Option<PathBuf>,
    /// The component's arguments
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

/// The warm start. `None` if the command line is not a plain `exec NAME -- ARGS`, or the component is not ready.
pub(super) fn fast_path(args: &[OsString]) -> Option<Outcome> {
    let (name, rest) = match args {
        [_, exec, name] if exec == "exec" => (name, &[][..]),
        [_, exec, name, dashes, rest @ ..] if exec == "exec" && dashes == "--" => (name, rest),
        _ => return None,
    };
    let home = Home::from_env().ok()?;
    let footer = Carrier::read_footer(&crate::platform::own_executable().ok()?).ok()?;
    let ready = store::warm(&home, footer.component(name.to_str()?)?)?;
    match become_program(&ready.program, Some(&ready.lease), rest) {
        // It went away between our look and now: the ordinary way makes it anew.
        error if error.kind() == io::ErrorKind::NotFound => None,
        error => Some(Err(cannot_start(&ready.program, &error))),
    }
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let home = Home::from_env()?;
        let output = Output::new(false);
        let local = self.use_local_binary.as_deref();
        let ready = component::resolve(&home, &self.name, local, Depth::Entrypoint, &Shown::new(output))?;
        let error = become_program(&ready.program, ready.lease.as_ref(), &self.rest);
        Err(cannot_start(&ready.program, &error))
    }
}

/// Replaces this process by `program`. Comes back only with an error.
fn become_program(program: &Path, lease: Option<&Lease>, args: &[OsString]) -> io::Error {
    if let Some(Err(error)) = lease.map(Lease::keep_over_exec) {
        return error;
    }
    match crate::platform::exec(Command::new(program).args(args)) {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

fn cannot_start(program: &Path, error: &io::Error) -> Failure {
    let text = format!("cannot start `{}`: {error}", program.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied if crate::platform::is_noexec(program) => Failure::new(Exit::Forbidden, text)
            .hint(NOEXEC_HINT),
        io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Forbidden, text).hint("`stigmer cache verify --repair` restores its permissions")
        }
        io::ErrorKind::NotFound if program.exists() => Failure::new(Exit::Unavailable, text)
            .hint("the program is there, but not the loader it asks for: it needs a glibc system of this architecture"),
        _ => Failure::new(Exit::Failed, text),
    }
}
