//! What a person types and sees: one file per command, one error type, every exit code.
//!
//! Data goes to standard output, everything said about it to standard error. Colour and progress appear on a terminal
//! only. A closed pipe is success: whoever closed it has read enough.

mod api;
mod apply;
mod bundle;
mod cache;
mod confirm;
mod doctor;
mod exec;
mod execution;
mod failure;
mod generate;
mod internal;
mod notice;
mod output;
mod progress;
mod resources;
mod run;
mod self_update;
mod server;
mod time;

pub use failure::{Exit, Failure};
pub use output::Output;

use crate::supervise::components::Components;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// What a command comes to: an exit code, or a failure to render.
pub type Outcome = Result<u8, Failure>;

/// Runs agents on this machine: one executable, nothing else to install.
#[derive(Debug, Parser)]
#[command(name = "stigmer", version = crate::LONG_VERSION, propagate_version = false, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start, stop and look at the local platform
    Server(server::Args),
    /// Let the platform have the agents and workflows in files
    Apply(apply::Args),
    /// Run an agent or a workflow, and show what it comes to
    Run(run::Args),
    /// Look after what was run
    Execution(execution::Args),
    /// List agents and workflows
    List(resources::ListArgs),
    /// Show an agent or a workflow as it was applied
    Get(resources::GetArgs),
    /// Remove an agent or a workflow
    Delete(resources::DeleteArgs),
    /// Run a bundled component in place of this process
    Exec(exec::Args),
    /// Look after the materialized components
    Cache(cache::Args),
    /// Look at everything a start depends on, and say what to do where something is wrong
    Doctor(doctor::Args),
    /// Pack, inspect and check carriers
    Bundle(bundle::Args),
    /// Replace this executable by the newest release, or go back to the one before
    #[command(name = "self-update")]
    SelfUpdate(self_update::Args),
    /// Print the completion script of a shell
    Completions(generate::Completions),
    /// Write the man pages, for packagers
    #[command(hide = true)]
    ManPages(generate::ManPages),
    #[command(flatten)]
    Internal(internal::Command),
}

/// Describes the whole command line of an executable with these components: each role has a hidden command.
fn command(components: Components) -> clap::Command {
    let command = Cli::command().mut_subcommand("server", |server| server::describe(server, components));
    internal::add_roles(command, components)
}

impl Command {
    /// Whether a person types it and reads what it says, so that there is room for a remark behind it.
    fn is_for_people(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Cache(_) | Self::Doctor(_))
    }
}

/// Runs the command line `args` of an executable with these components, renders the outcome, and returns the exit code.
pub fn run(args: impl Iterator<Item = OsString>, components: Components) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    // The hot path comes first: no option parser is built for a start that only reads a stamp.
    if let Some(outcome) = exec::fast_path(&args) {
        return finish(outcome, false);
    }
    // Behind `--` stand the arguments of a component.
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let parsed = command(components).try_get_matches_from(&args).and_then(|matches| {
        match internal::role(&matches, components)? {
            Some(role) => Ok(Err(role)),
            None => Cli::from_arg_matches(&matches).map(Ok),
        }
    });
    match parsed {
        Ok(Err(role)) => finish(role.run(), json),
        Ok(Ok(cli)) => {
            let is_for_people = !json && cli.command.is_for_people();
            let code = finish(dispatch(cli.command, components), json);
            if is_for_people {
                notice::after_command();
            }
            code
        }
        Err(error) => {
            // Help and version are no errors to clap's printer, and go to standard output.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { 0 })
        }
    }
}

fn dispatch(command: Command, components: Components) -> Outcome {
    match command {
        Command::Server(args) => args.run(components),
        Command::Apply(args) => args.run(),
        Command::Run(args) => args.run(),
        Command::Execution(args) => args.run(),
        Command::List(args) => args.run(),
        Command::Get(args) => args.run(),
        Command::Delete(args) => args.run(),
        Command::Exec(args) => args.run(),
        Command::Cache(args) => args.run(),
        Command::Doctor(args) => args.run(components),
        Command::Bundle(args) => args.run(),
        Command::SelfUpdate(args) => args.run(),
        Command::Completions(args) => args.run(components),
        Command::ManPages(args) => args.run(components),
        Command::Internal(command) => command.run(components),
    }
}

fn finish(outcome: Outcome, json: bool) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.render(json);
            ExitCode::from(failure.exit as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_command_line_is_consistent() {
        command(crate::components::SHIPPED).debug_assert();
    }
}
