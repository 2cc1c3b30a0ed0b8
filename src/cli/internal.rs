//! The hidden commands: the roles this executable plays as a process of the platform (one program, many names: the `BusyBox` pattern).
//!
//! Not listed in the help, because nobody needs them to use stigmer; each one's own `--help` works, because somebody
//! who looks for them has a reason. Each role is library code with one `run(config)`; what is done here is only
//! to find the config: on standard input if a supervisor started it, from the flags if a person did.

use super::server::local_builds;
use super::{Exit, Failure, Outcome, Output};
use crate::config::Config;
use crate::home::Home;
use crate::services::role::{self, RoleFn, StartedBy};
use crate::services::{ServiceError, workflow_runner};
use crate::supervise::components::{ComponentSpec, Components, Contact, Source};
use crate::supervise::supervisor::{self, HEARTBEAT_MS};
use crate::supervise::{LaunchConfig, LaunchEvent, Place, StartFailure, SuperviseError};
use clap::{ArgMatches, Args as _, FromArgMatches, Subcommand};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use stigmer_protocol::component::{CONFIG_SCHEMA, ComponentConfig};
use stigmer_protocol::environment::Environment;
use stigmer_protocol::line::write_line;
use stigmer_protocol::token::Token;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the supervisor in the foreground
    #[command(name = "internal-supervisor", hide = true)]
    Supervisor(SupervisorArgs),
    /// Run a program, and end everything it started when it ends
    #[command(name = "internal-attendant", hide = true)]
    Attendant(AttendantArgs),
    /// Find out whether there is a newer release, for a remark on some later day
    #[command(name = super::notice::COMMAND, hide = true)]
    UpdateCheck,
}

#[derive(Debug, clap::Args)]
pub(super) struct SupervisorArgs {
    /// Take the settings from standard input, as the launcher writes them
    #[arg(long, exclusive = true)]
    supervised: bool,
    /// The port to listen on (0: any that is free) [default: from config.toml, else 7234]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Run this agent-runner instead of the bundled one (NAME=PATH: this local build of the component NAME)
    #[arg(long, value_name = "PATH")]
    use_local_binary: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// Take the config from standard input, and end with it
    #[arg(long, exclusive = true)]
    supervised: bool,
    /// The port to listen on (0: any that is free) [default: from config.toml, else 7234]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// The file with the token that clients must have [default: run/token in the home]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct WorkerArgs {
    /// Take the config from standard input, and end with it
    #[arg(long, exclusive = true)]
    supervised: bool,
    /// The server to work for
    #[arg(long, value_name = "URL", required_unless_present = "supervised")]
    server: Option<String>,
    /// The file with the token of the server [default: run/token in the home]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The instance to belong to [default: the one the server names]
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct AttendantArgs {
    /// The program, and its arguments
    #[arg(last = true, required = true, value_names = ["PROGRAM", "ARGS"], num_args = 1..)]
    command: Vec<OsString>,
}

impl Command {
    pub(super) fn run(self, components: Components) -> Outcome {
        match self {
            Self::Supervisor(args) => args.run(components),
            Self::Attendant(args) => args.run(),
            Self::UpdateCheck => super::notice::find_out(),
        }
    }
}

impl SupervisorArgs {
    fn run(self, components: Components) -> Outcome {
        let home = Home::from_env()?;
        let config = if self.supervised {
            LaunchConfig::read(&mut io::stdin().lock())?
        } else {
            let settings = Config::read(&home)?;
            let local = local_builds(&self.use_local_binary, components)?;
            fs_err::create_dir_all(home.root())?;
            let port = self.port.unwrap_or(settings.server.port);
            LaunchConfig::new(&home, &settings, components, port, &local)?
        };
        let supervised = self.supervised;
        let report = move |event: &LaunchEvent| {
            // A launcher that went away does not hear the rest; that is its own affair.
            let _ = write_line(io::stdout().lock(), event);
        };
        match supervisor::run(&home, config, components, Place::Background, Box::new(report)) {
            Ok(()) => Ok(0),
            Err(error) if supervised => {
                // A component's failure the launcher has heard already; ours it must hear now, and says it to the person.
                if !matches!(error, SuperviseError::Failed(_)) {
                    let mut told = StartFailure::of_supervisor(&error);
                    let failure = Failure::from(error);
                    told.code = Some(failure.exit as i32);
                    told.hint = failure.hints().first().cloned();
                    let _ = write_line(io::stdout().lock(), &LaunchEvent::Failed(Box::new(told)));
                }
                Ok(Exit::Failed as u8)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A role of this executable, as the command line asks for it.
#[derive(Debug)]
pub(super) struct Role {
    spec: &'static ComponentSpec,
    run: RoleFn,
    args: RoleArgs,
}

/// Flags of a role, which depend on its relation to the API.
#[derive(Debug)]
enum RoleArgs {
    Server(ServerArgs),
    Worker(WorkerArgs),
}

/// Adds a hidden command for every role of the table.
pub(super) fn add_roles(command: clap::Command, components: Components) -> clap::Command {
    components.iter().fold(command, |command, spec| {
        let Source::Role { command: name, .. } = spec.source else { return command };
        let role = clap::Command::new(name).about(format!("Run {} by itself", spec.name)).hide(true);
        command.subcommand(match spec.contact {
            Contact::Api => ServerArgs::augment_args(role),
            Contact::Worker | Contact::None => WorkerArgs::augment_args(role),
        })
    })
}

/// Finds the role that the command line asks for.
///
/// # Errors
/// Its flags are wrong.
pub(super) fn role(matches: &ArgMatches, components: Components) -> Result<Option<Role>, clap::Error> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(None) };
    let Some((spec, run)) = components.role(name) else { return Ok(None) };
    let args = match spec.contact {
        Contact::Api => RoleArgs::Server(ServerArgs::from_arg_matches(matches)?),
        Contact::Worker | Contact::None => RoleArgs::Worker(WorkerArgs::from_arg_matches(matches)?),
    };
    Ok(Some(Role { spec, run, args }))
}

impl Role {
    /// Runs the role until it is asked to end.
    pub(super) fn run(self) -> Outcome {
        let is_supervised = match &self.args {
            RoleArgs::Server(args) => args.supervised,
            RoleArgs::Worker(args) => args.supervised,
        };
        if is_supervised {
            return supervised(self.spec.name, self.run);
        }
        let home = Home::from_env()?;
        let settings = Config::read(&home)?;
        let (config, activity) = match self.args {
            RoleArgs::Server(args) => (args.config(&home, self.spec, &settings)?, "serving"),
            RoleArgs::Worker(args) => (args.config(&home, self.spec, &settings)?, "working"),
        };
        Output::new(false).note(format_args!("{activity} until Ctrl-C"));
        (self.run)(&config, StartedBy::Person).map(|()| 0).map_err(Failure::from)
    }
}

impl ServerArgs {
    fn config(
        self,
        home: &Home,
        spec: &ComponentSpec,
        settings: &Config,
    ) -> Result<ComponentConfig, Failure> {
        let port = self.port.unwrap_or(settings.server.port);
        let token = token(home, self.token_file.as_deref())?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(component_config(home, spec, settings, stigmer_protocol::id::generate()?, url, token))
    }
}

impl WorkerArgs {
    fn config(
        self,
        home: &Home,
        spec: &ComponentSpec,
        settings: &Config,
    ) -> Result<ComponentConfig, Failure> {
        let token = token(home, self.token_file.as_deref())?;
        let instance = self.instance.clone().unwrap_or_default();
        let url = self.server.unwrap_or_default();
        let mut config = component_config(home, spec, settings, instance, url, token);
        config.server_address().map_err(|error| {
            Failure::from_error(Exit::Usage, &error)
                .hint("--server takes what `internal-server` prints as its address")
        })?;
        if self.instance.is_none() {
            config.instance = workflow_runner::instance_of(&config)?;
        }
        Ok(config)
    }
}

/// The config of a role that a person starts. It receives no secrets.
fn component_config(
    home: &Home,
    spec: &ComponentSpec,
    settings: &Config,
    instance: String,
    server_url: String,
    token: Token,
) -> ComponentConfig {
    ComponentConfig {
        schema: CONFIG_SCHEMA,
        component: spec.name.to_owned(),
        instance,
        server_url,
        token,
        work_dir: home.data().join(spec.name).display().to_string(),
        heartbeat_ms: HEARTBEAT_MS,
        environment: Environment::default(),
        settings: (spec.settings)(settings, home),
    }
}

impl AttendantArgs {
    #[cfg(unix)]
    fn run(self) -> Outcome {
        use crate::supervise::attendant::{self, AttendError};
        let (program, args) = self.command.split_first().ok_or_else(|| {
            Failure::new(Exit::Usage, "no program is named").hint("it stands behind `--`, with its arguments")
        })?;
        attendant::run(Path::new(program), args).map_err(|error| match &error {
            AttendError::Start { .. } => Failure::from_error(Exit::Unavailable, &error),
            AttendError::Io(_) => Failure::from_error(Exit::Io, &error),
        })
    }

    #[cfg(not(unix))]
    fn run(self) -> Outcome {
        let program = self.command.first().map(|program| Path::new(program).display().to_string());
        Err(Failure::new(Exit::Unavailable, "there are no attendants on this system")
            .cause("here a job object ends everything a component has started")
            .hint(format!("start `{}` itself", program.unwrap_or_default())))
    }
}

fn token(home: &Home, file: Option<&Path>) -> Result<Token, Failure> {
    Ok(match file {
        Some(file) => Token::read(file)?,
        None => Token::obtain(&home.run())?,
    })
}

/// A role that a supervisor started: it is told everything on standard input, and tells of a failure on standard output.
fn supervised(name: &str, run: RoleFn) -> Outcome {
    let outcome = role::read_config(name).and_then(|config| run(&config, StartedBy::Supervisor));
    match outcome {
        Ok(()) => Ok(0),
        Err(error) => {
            role::say_failed(&error);
            Err(error.into())
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let exit = match &error {
            ServiceError::Config(_) => Exit::Config,
            ServiceError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Exit::Busy,
            ServiceError::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Forbidden
            }
            ServiceError::Io(_) | ServiceError::Store(_) => Exit::Io,
            ServiceError::Listen { .. } | ServiceError::Refused { .. } => Exit::Failed,
        };
        let hint = error.hint();
        let failure = Self::from_error(exit, &error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
