//! The remark that there is a newer release, at the end of a command that a person typed.
//!
//! Only on a terminal, never where a machine works (`CI`), and for nothing that is run by other programs. Finding out is the work of
//! a process of its own, which nobody waits for and which says nothing.

use super::self_update::Settled;
use super::{Failure, Outcome, Output};
use crate::config::Config;
use crate::home::Home;
use crate::platform;
use crate::update::{Installed, Notice, OFF_VARIABLE, owner_by_files};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The hidden command that finds out.
pub(super) const COMMAND: &str = "internal-update-check";

/// Says it, if there is something to say and somebody to hear it; and sees to it that tomorrow there may be.
pub(super) fn after_command() {
    let output = Output::new(false);
    // What costs nothing comes first: most commands end here.
    if !output.is_watched() || is_set("CI") || is_set(OFF_VARIABLE) {
        return;
    }
    // A remark that fails is no remark; the command was another.
    let _ = remark(output);
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn remark(output: Output) -> Result<(), Failure> {
    let home = Home::from_env()?;
    let settings = Config::read(&home)?.update;
    let trusts_nobody = settings.trusted_keys.is_empty() && crate::build_info::release_keys()?.is_empty();
    if !settings.notice || trusts_nobody || !home.root().exists() {
        return Ok(());
    }
    // A bare build is no release.
    let installed = Installed::find()?;
    let owner = owner_by_files(installed.path());
    if owner.as_ref().is_some_and(|owner| !owner.lags) {
        // Its manager tells people of new versions.
        return Ok(());
    }
    let now = SystemTime::now();
    let mut notice = Notice::read(&home.update_state());
    let before = notice.clone();
    let Ok(current) = crate::VERSION.parse() else { return Ok(()) };
    let version = notice.remark(&current, owner.is_some(), now);
    let is_due = notice.is_time_to_ask(now);
    if notice != before {
        notice.write(&home.update_state())?;
    }
    if let Some(version) = version {
        let command = owner.map_or_else(|| "stigmer self-update".to_owned(), |owner| owner.advice);
        output.note(format_args!(
            "   {} stigmer {version} is there; this is {current}: `{command}`",
            console::style("note:").cyan().for_stderr()
        ));
    }
    if is_due {
        let mut command = Command::new(platform::own_program()?);
        command
            .arg(COMMAND)
            .current_dir(home.root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        platform::in_own_session(&mut command);
        command.spawn()?;
    }
    Ok(())
}

/// Asks the source what there is, and notes it.
pub(super) fn find_out() -> Outcome {
    let home = Home::from_env()?;
    let settled = Settled::new(home, Installed::find()?, None)?;
    let source = settled.source()?;
    // That it was asked is enough: what it said is noted.
    settled.offer(&settled.client(&source)?, &source, None)?;
    Ok(0)
}
