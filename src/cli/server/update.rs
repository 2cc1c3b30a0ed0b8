//! `stigmer server update`: the newest release, and the platform on it; or, if it does not come up on that, everything as it was.
//!
//! Three commands that exist by themselves, in the one order that leaves a way back: update the executable, let the *new* one
//! restart the platform, and if that fails go back and start the old one. The new version starts what it carries itself,
//! because only it knows how.

use super::{Failure, Output, service, start};
use crate::cli::self_update::{self, Brought, Which};
use crate::cli::{Exit, Outcome};
use crate::home::Home;
use crate::supervise::SuperviseError;
use crate::supervise::client::{Found, look};
use crate::supervise::components::Components;
use crate::supervise::control::Status;
use crate::supervise::skew;
use crate::update::Installed;
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// Under the help of the command.
pub(super) const NOTE: &str = "\
The platform is stopped in good order and started again with the same settings; if it is not running, only the executable is \
updated. If it does not get ready on the new version, the old one is put back and started: that exits with 1.";

#[derive(Debug, clap::Args)]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    which: Which,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct UpdateReport {
    /// Whether the executable was replaced.
    updated: bool,
    /// Whether the platform was restarted.
    restarted: bool,
    /// What is installed now.
    version: String,
}

pub(super) fn run(home: &Home, components: Components, args: UpdateArgs) -> Outcome {
    let output = Output::new(args.json);
    // Who cannot be asked cannot be restarted; that is found out while there is nothing to undo.
    let running = match look(home) {
        Found::Up(status) => Some(status),
        Found::Hung { pid } => return Err(SuperviseError::Hung { pid }.into()),
        Found::Barred { pid, error } => return Err(SuperviseError::Barred { pid, source: error }.into()),
        Found::Absent | Found::Crashed { .. } => None,
    };
    let (installed, brought) = self_update::bring(home, args.which, output)?;
    let replaced = match &brought {
        Brought::Replaced(updated) => {
            output.note(format_args!("stigmer {} is installed; it was {}", updated.to, updated.from));
            Some(updated)
        }
        Brought::Nothing(_) => None,
    };
    let restarts = running.as_ref().filter(|status| replaced.is_some() || skew::compare(status).is_some());
    if let Some(status) = restarts
        && let Err(failure) = restart(home, installed.path())
    {
        let Some(updated) = replaced else { return Err(failure) };
        go_back(home, components, &installed, status)?;
        let message = format!("the platform does not get ready on stigmer {}", updated.to);
        return Err(Failure::new(Exit::Failed, message)
            .cause(format!("stigmer {} was put back and runs again", updated.from))
            .hint("what it said is above; `stigmer server logs --since 5m` shows more"));
    }
    let version = replaced.map_or_else(|| crate::VERSION.to_owned(), |updated| updated.to.to_string());
    if output.is_json() {
        let (updated, restarted) = (replaced.is_some(), restarts.is_some());
        output.json(&UpdateReport { updated, restarted, version })?;
        return Ok(0);
    }
    match (replaced, running.is_some(), restarts.is_some()) {
        (_, _, true) => output.line(format_args!("the platform runs on stigmer {version}"))?,
        (None, ..) => {
            output.line(format_args!(
                "stigmer {version} is the newest that is offered, and it is what is installed and runs"
            ))?;
        }
        (Some(_), ..) => {
            output.line(format_args!("stigmer {version} is installed; the server is not running"))?;
            output.hint("`stigmer server` starts it");
        }
    }
    Ok(0)
}

/// Lets the executable at `program` restart the platform. What it says, the person hears.
fn restart(home: &Home, program: &Path) -> Result<(), Failure> {
    let status = Command::new(program)
        .args(["server", "restart"])
        .env(crate::home::HOME_VARIABLE, home.root())
        .stdin(Stdio::null())
        // Its data is not ours.
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(
            Exit::Failed,
            format!("`{} server restart` failed ({status})", program.display()),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Puts the old executable back, and brings up what ran, as it ran.
fn go_back(
    home: &Home,
    components: Components,
    installed: &Installed,
    before: &Status,
) -> Result<(), Failure> {
    let output = Output::new(false);
    output.note("going back");
    let lost = |failure: Failure| {
        failure.hint("`stigmer self-update --rollback` puts the old version back, `stigmer server` starts it")
    };
    installed.roll_back().map_err(|error| lost(error.into()))?;
    if matches!(look(home), Found::Up(_)) {
        // The restart failed before anything was stopped: what ran runs.
        return Ok(());
    }
    let mut command = Command::new(installed.path());
    if service::runs(home) {
        // Its manager starts it, with its own settings.
        command.args(["server", "restart"]);
    } else {
        command.args(["server", "start", "--port"]).arg(start::bound_port(before).to_string());
        let default = components.bundled().next().map(|spec| spec.name);
        for (name, path) in before.local_binaries(default) {
            // The old version may take a path only.
            let value = if Some(&*name) == default {
                path.into_os_string()
            } else {
                format!("{name}={}", path.display()).into()
            };
            command.arg("--use-local-binary").arg(value);
        }
    }
    command.env(crate::home::HOME_VARIABLE, home.root()).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("the old version is back and does not start either ({status})"))
        .hint("`stigmer doctor` looks at everything a start depends on"))
}
