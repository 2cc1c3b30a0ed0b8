//! The launcher: the short-lived process behind `stigmer server`, which finds a supervisor or brings one up.
//!
//! Connect first, without any lock; else take the launchers' lock, look again, and only then start. What the supervisor does is
//! heard on its standard output, line by line, so nothing is polled and nothing is guessed: the launcher returns when
//! everything is ready, or knows what failed.

use super::client::{self, Found};
use super::control::Status;
use super::environment;
use super::lock;
use super::logs;
use super::protocol::{self, read_line};
use super::state::ServerState;
use super::{LaunchConfig, LaunchEvent, SuperviseError};
use crate::config::Config;
use crate::home::Home;
use crate::lock::LockError;
use crate::platform;
use crate::store::{Depth, Progress};
use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The component that this executable carries for others.
pub const AGENT_RUNNER: &str = "agent-runner";

/// What a start is asked for.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The port, if the person named one.
    pub port: Option<u16>,
    /// A local agent runner, as an absolute path.
    pub local: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub enum Started {
    /// It runs now.
    New(Box<Status>),
    /// It ran already.
    Already {
        /// What runs.
        status: Box<Status>,
        /// In what it differs from what was asked for.
        differences: Vec<String>,
    },
}

/// How long a supervisor may take to stop its children, beyond their own time, before it is given up.
const MARGIN: Duration = Duration::from_secs(5);

/// Finds the supervisor of `home` or starts one, and returns when all is ready.
pub fn start(
    home: &Home,
    request: &StartRequest,
    progress: &dyn Progress,
    observe: &mut dyn FnMut(&LaunchEvent),
) -> Result<Started, SuperviseError> {
    if let Some(started) = running(home, request, true)? {
        return Ok(started);
    }
    let settings = Config::read(home)?;
    let patience = settings.server.start_timeout + settings.server.stop_timeout + MARGIN;
    let _lock = lock::start(home, patience)?;
    if let Some(started) = running(home, request, false)? {
        return Ok(started);
    }
    let port = request.port.unwrap_or(settings.server.port);
    let config = LaunchConfig::new(home, &settings, port, request.local.as_deref())?;
    observe(&LaunchEvent::Preparing);
    // Here, and not only in the supervisor, so that a terminal sees the progress and the errors of it. What is
    // given back is kept until the supervisor has its own.
    let component =
        crate::component::resolve(home, AGENT_RUNNER, request.local.as_deref(), Depth::Evidence, progress)?;
    check_port(port)?;
    let mut supervisor = spawn(home, &config)?;
    let outcome = attend(home, &mut supervisor, patience, observe);
    drop(component);
    outcome.map(|status| Started::New(Box::new(status)))
}

/// What runs already, if something does. With `only_ready`, something that is not ready (another launcher may
/// be at work on it) counts as nothing yet.
fn running(home: &Home, request: &StartRequest, only_ready: bool) -> Result<Option<Started>, SuperviseError> {
    match client::look(home) {
        Found::Up(status) if status.stopping => {
            if only_ready {
                return Ok(None);
            }
            let Some(state) = ServerState::read(home) else {
                return Ok(None);
            };
            let limit = Config::read(home)?.server.stop_timeout * 2 + MARGIN;
            if state.identity.wait_for_end(limit) {
                Ok(None)
            } else {
                Err(SuperviseError::Hung { pid: status.pid })
            }
        }
        Found::Up(status) if only_ready && !status.is_ready() => Ok(None),
        Found::Up(status) => {
            Ok(Some(Started::Already { differences: differences(&status, request), status }))
        }
        Found::Hung { pid } => Err(SuperviseError::Hung { pid }),
        Found::Absent | Found::Crashed { .. } => Ok(None),
    }
}

/// In what the running `status` differs from what a start now would bring up.
fn differences(status: &Status, request: &StartRequest) -> Vec<String> {
    let mut found = Vec::new();
    let bound = status.components.iter().find_map(|c| c.address).map(|a| a.port());
    if let Some(port) = request.port
        && port != 0
        && Some(port) != bound
        && port != status.port
    {
        let runs = bound.unwrap_or(status.port);
        found.push(format!("it listens on port {runs}, not on {port}"));
    }
    let local = request.local.as_ref().map(|path| path.display().to_string());
    match (&local, &status.local_binary) {
        (Some(wanted), Some(runs)) if wanted != runs => {
            found.push(format!("its agent-runner is `{runs}`, not `{wanted}`"));
        }
        (Some(wanted), None) => {
            found.push(format!("its agent-runner is the bundled one, not `{wanted}`"));
        }
        (None, Some(runs)) => found.push(format!("its agent-runner is `{runs}`, not the bundled one")),
        _ => {}
    }
    if status.version != crate::VERSION {
        found.push(format!("it is version {}, this is {}", status.version, crate::VERSION));
    }
    let (path, state) = super::own_executable();
    if status.executable != path {
        found.push(format!("it was started from `{}`, this is `{path}`", status.executable));
    } else if status.executable_state != state {
        found.push(format!("`{path}` was replaced since it started"));
    }
    found
}

/// Whether the server will be able to listen. Asked before anything is started, to explain a conflict while there is nothing
/// to tidy up; the server itself finds out for certain.
fn check_port(port: u16) -> Result<(), SuperviseError> {
    if port == 0 {
        return Ok(());
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Err(SuperviseError::PortTaken { port, holder: platform::port_holder(port) })
        }
        Err(source) => Err(SuperviseError::Port { port, source }),
    }
}

/// Starts a supervisor in a session of its own, and tells it what to do.
fn spawn(home: &Home, config: &LaunchConfig) -> Result<Child, SuperviseError> {
    fs_err::create_dir_all(home.logs())?;
    let log =
        fs_err::OpenOptions::new().create(true).append(true).open(logs::file(&home.logs(), "supervisor"))?;
    let line = protocol::line(config)?;
    let mut command = Command::new(platform::own_executable()?);
    environment::only_plain(&mut command)
        .args(["internal-supervisor", "--supervised"])
        // It must not keep a directory busy that somebody wants to remove or unmount.
        .current_dir(home.root())
        .env(crate::home::HOME_VARIABLE, home.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.into_file());
    platform::in_own_session(&mut command);
    let mut child = command.spawn().map_err(SuperviseError::Spawn)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it is gone already, that is noticed where its words are missed.
        let _ = stdin.write_all(&line);
    }
    Ok(child)
}

/// Hears the supervisor until everything is ready or something has failed.
fn attend(
    home: &Home,
    supervisor: &mut Child,
    patience: Duration,
    observe: &mut dyn FnMut(&LaunchEvent),
) -> Result<Status, SuperviseError> {
    let Some(stdout) = supervisor.stdout.take() else {
        return Err(SuperviseError::Spawn(io::Error::other("the system gave no pipes")));
    };
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        while let Ok(line) = read_line(&mut lines) {
            let Ok(event) = serde_json::from_str::<LaunchEvent>(&line) else {
                continue;
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + patience;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(LaunchEvent::Up(status)) => return Ok(*status),
            Ok(LaunchEvent::Failed(failure)) => {
                // It has stopped what it had started, and is on its way out.
                let _ = supervisor.wait();
                return Err(SuperviseError::Failed(failure));
            }
            Ok(event) => observe(&event),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Its children end with it.
                let _ = supervisor.kill();
                let _ = supervisor.wait();
                return Err(SuperviseError::Silent { limit: patience });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = supervisor.wait()?;
                let files = [("supervisor".to_owned(), logs::file(&home.logs(), "supervisor"))];
                let log = logs::tail(&files, 20).unwrap_or_default();
                return Err(SuperviseError::SupervisorEnded {
                    status: super::describe_exit(status),
                    log: log.into_iter().map(|line| line.text).collect(),
                });
            }
        }
    }
}

impl From<LockError> for SuperviseError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Io(error) => Self::Io(error),
            held @ LockError::Busy { .. } => Self::Locked(held),
        }
    }
}
