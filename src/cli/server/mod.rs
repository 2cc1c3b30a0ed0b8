//! `stigmer server`: start, stop, restart, status and logs of the local platform.

mod failure;
mod foreground;
mod logs;
mod phases;
mod start;
mod status;
mod stop;

use super::{Failure, Outcome, Output};
use crate::home::Home;
use crate::supervise::launch::StartRequest;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(flatten)]
    start: StartArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the platform, unless it runs (what `stigmer server` alone does)
    Start(StartArgs),
    /// Stop everything, and wait until it has ended
    Stop(StopArgs),
    /// Stop, then start with the same settings
    Restart(RestartArgs),
    /// Show what runs. Exits with 0 if the platform is up, with 3 if not
    Status(StatusArgs),
    /// Show what the components say
    Logs(logs::LogsArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct StartArgs {
    #[command(flatten)]
    what: RestartArgs,
    /// Return when everything is ready, or has failed (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as the start is under way; `stigmer server status` says how it went
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// Run here instead of in the background, and show what the components say, until Ctrl-C
    #[arg(long, conflicts_with_all = ["wait", "no_wait"])]
    foreground: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct RestartArgs {
    /// The port to listen on (0: any that is free) [default: from config.toml, else 7234]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Run this agent-runner instead of the bundled one
    #[arg(long, value_name = "PATH")]
    use_local_binary: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, display_order = 900)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct StopArgs {
    /// End everything at once, without asking anybody to finish
    #[arg(long)]
    now: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// Print everything there is to know as JSON
    #[arg(long)]
    json: bool,
}

impl RestartArgs {
    fn request(&self) -> Result<StartRequest, Failure> {
        Ok(StartRequest {
            port: self.port,
            local: self.use_local_binary.as_deref().map(absolute).transpose()?,
        })
    }
}

/// The supervisor works in another directory, so a path must not depend on this one.
pub(super) fn absolute(path: &std::path::Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path)?)
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let home = Home::from_env()?;
        match self.command.unwrap_or(Command::Start(self.start)) {
            Command::Start(StartArgs { what, foreground: true, .. }) => {
                foreground::run(&home, &what.request()?, Output::new(what.json))
            }
            Command::Start(StartArgs { what, no_wait, .. }) => {
                start::start(&home, &what.request()?, !no_wait, Output::new(what.json))
            }
            Command::Restart(args) => start::restart(&home, args.request()?, Output::new(args.json)),
            Command::Stop(args) => stop::run(&home, args.now, Output::new(args.json)),
            Command::Status(args) => status::run(&home, Output::new(args.json)),
            Command::Logs(args) => args.run(&home),
        }
    }
}
