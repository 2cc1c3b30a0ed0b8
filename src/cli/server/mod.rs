//! `stigmer server`: start, stop, restart, status and logs of the local platform.

mod down;
pub(super) mod failure;
mod foreground;
mod logs;
mod phases;
mod service;
mod start;
pub(super) mod status;
mod stop;
mod update;

use super::{Exit, Failure, Outcome, Output};
use crate::home::Home;
use crate::supervise::components::Components;
use crate::supervise::launch::StartRequest;
use crate::update::runner::{self, RunnerName};
use clap::Subcommand;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Under the help of `stigmer server`, behind the components: where a person goes on from here.
const NEXT: &str = "
  stigmer server         starts them, in the background, and returns when they are ready
  stigmer server status  says what runs and, if something does not, why and what to do
  stigmer server logs    shows what they say
  stigmer doctor         checks everything a start depends on";

/// Under the help of `stigmer server start`.
const START_CODES: &str = "\
Exits with 0 when everything is ready, also if it ran already; with 1 if a component did not start, 69 if there is no \
agent-runner, 75 if the port is taken or somebody else is at work here, 78 if the configuration is wrong.";

/// Under the help of `stigmer server stop`.
const STOP_NOTE: &str = "\
A component has the `stop_timeout` of config.toml (10 s) to finish what it does, and is then killed. Ctrl-C ends the waiting, not \
the stop. Exits with 0 also if nothing ran; with 4 if the supervisor does not answer: `--now` ends that one too.";

/// Under the help of `stigmer server status`.
const STATUS_CODES: &str = "\
Exits with 0 if the platform is up (in whatever phase its components are), 3 if it is not, 4 if the supervisor does not answer.";

/// Adds what depends on the components to the description of the command.
pub(super) fn describe(command: clap::Command, components: Components) -> clap::Command {
    let described: Vec<String> = components
        .iter()
        .map(|spec| {
            if spec.about.is_empty() {
                spec.name.to_owned()
            } else {
                format!("{}, {}", spec.name, spec.about)
            }
        })
        .collect();
    let help =
        format!("What runs: the supervisor, which looks after the others; {}.\n{NEXT}", described.join("; "));
    command.after_help(help).mut_subcommand("logs", |logs| logs::describe(logs, components))
}

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
    #[command(after_help = START_CODES)]
    Start(StartArgs),
    /// Stop everything, and wait until it has ended
    #[command(after_help = STOP_NOTE)]
    Stop(StopArgs),
    /// Stop, then start with the same settings, and with the stigmer that is asked
    Restart(RestartArgs),
    /// Update stigmer, and restart the platform on the new version; go back if it does not get ready
    #[command(after_help = update::NOTE)]
    Update(update::UpdateArgs),
    /// Show what runs. Exits with 0 if the platform is up, with 3 if not
    #[command(after_help = STATUS_CODES)]
    Status(StatusArgs),
    /// Show what the components say
    Logs(logs::LogsArgs),
    /// Run the platform as a service of your own session: it is started at every login
    InstallService(service::InstallArgs),
    /// Stop that service, and remove it
    UninstallService,
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
    /// Run this agent-runner instead of the bundled one (NAME=PATH: this local build of the component NAME)
    #[arg(long, value_name = "PATH")]
    use_local_binary: Vec<PathBuf>,
    /// Run the agent-runner that is published under this name instead of the bundled one
    #[arg(long, value_name = "NAME", conflicts_with = "use_local_binary")]
    version: Option<RunnerName>,
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
    fn request(&self, home: &Home, components: Components) -> Result<StartRequest, Failure> {
        let local = match &self.version {
            Some(name) => {
                let path = super::self_update::runner(home, name, Output::new(self.json))?;
                BTreeMap::from([(runner::COMPONENT.to_owned(), path)])
            }
            None => local_builds(&self.use_local_binary, components)?,
        };
        Ok(StartRequest { port: self.port, local })
    }
}

/// Assigns local builds to components: `NAME=PATH`, or a path for the first bundled component.
pub(super) fn local_builds(
    paths: &[PathBuf],
    components: Components,
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut builds = BTreeMap::new();
    for path in paths {
        let named = path.to_str().and_then(|text| {
            let (name, path) = text.split_once('=')?;
            components.bundled().find(|spec| spec.name == name).map(|spec| (spec.name, Path::new(path)))
        });
        let default = || components.bundled().next().map(|spec| (spec.name, path.as_path()));
        let Some((name, path)) = named.or_else(default) else {
            return Err(Failure::new(
                Exit::Usage,
                "no component is bundled that a local build could replace",
            )
            .hint("start without `--use-local-binary`"));
        };
        builds.insert(name.to_owned(), absolute(path)?);
    }
    Ok(builds)
}

/// The supervisor works in another directory, so a path must not depend on this one.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path)?)
}

impl Args {
    pub(super) fn run(self, components: Components) -> Outcome {
        let home = Home::from_env()?;
        match self.command.unwrap_or(Command::Start(self.start)) {
            Command::Start(StartArgs { what, foreground: true, .. }) => {
                foreground::run(&home, components, &what.request(&home, components)?, Output::new(what.json))
            }
            Command::Start(StartArgs { what, no_wait, .. }) => start::start(
                &home,
                components,
                &what.request(&home, components)?,
                !no_wait,
                Output::new(what.json),
            ),
            Command::Restart(args) => {
                start::restart(&home, components, args.request(&home, components)?, Output::new(args.json))
            }
            Command::Update(args) => update::run(&home, components, args),
            Command::Stop(args) => stop::run(&home, args.now, Output::new(args.json)),
            Command::Status(args) => status::run(&home, components, Output::new(args.json)),
            Command::Logs(args) => args.run(&home, components),
            Command::InstallService(args) => service::install(&home, &args, Output::new(false)),
            Command::UninstallService => service::uninstall(Output::new(false)),
        }
    }
}
