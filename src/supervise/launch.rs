//! The launcher: the short-lived process behind `stigmer server`, which finds a supervisor or brings one up.
//!
//! Connect first, without any lock; else take the launchers' lock, look again, and only then start. What the supervisor does is
//! heard on its standard output, line by line, so nothing is polled and nothing is guessed: the launcher returns when
//! everything is ready, or knows what failed.

use super::client::{self, Awaited, Found};
use super::components::Components;
use super::control::Status;
use super::environment;
use super::lock;
use super::logs;
use super::state::ServerState;
use super::supervisor;
use super::{LaunchConfig, LaunchEvent, Place, Report, SUPERVISOR, SuperviseError, port};
use crate::component::{self, ComponentError, Ready};
use crate::config::{self, Config};
use crate::home::Home;
use crate::lock::Lock;
use crate::platform;
use crate::store::{Depth, Progress, StoreError};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use stigmer_protocol::line::{self, read_line};

/// What a start is asked for.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The port, if the person named one.
    pub port: Option<u16>,
    /// Absolute paths of local builds in place of bundled components, by component.
    pub local: BTreeMap<String, PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub enum Started {
    /// It runs now, or is starting if nobody waits for that.
    New(Box<Status>),
    /// It ran already.
    Already {
        /// What runs.
        status: Box<Status>,
        /// In what it differs from what was asked for.
        differences: Vec<String>,
    },
}

/// Additional time for a supervisor to stop its children before it is given up.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Finds the supervisor of `home` or starts one, and returns when all is ready; without `wait`, as soon as the supervisor
/// can be asked.
pub fn start(
    home: &Home,
    components: Components,
    request: &StartRequest,
    wait: bool,
    progress: &dyn Progress,
    observe: &mut dyn FnMut(&LaunchEvent),
) -> Result<Started, SuperviseError> {
    let prepared = match prepare(home, components, request, wait, progress, observe)? {
        Ok(prepared) => prepared,
        Err(already) => return Ok(already),
    };
    let mut supervisor = spawn(home, &prepared.config)?;
    let status = attend(home, &mut supervisor, wait, prepared.silence_limit, observe)?;
    Ok(Started::New(Box::new(status)))
}

/// Runs the supervisor in this very process, until it is told to stop. `observe` hears how the start goes, and of the stop.
///
/// # Errors
/// It runs already, or does not start.
pub fn foreground(
    home: &Home,
    components: Components,
    request: &StartRequest,
    progress: &dyn Progress,
    mut observe: Report,
) -> Result<(), SuperviseError> {
    let prepared = match prepare(home, components, request, true, progress, &mut *observe)? {
        Ok(prepared) => prepared,
        Err(Started::Already { status, .. } | Started::New(status)) => {
            return Err(SuperviseError::Running { pid: status.pid, since: status.since });
        }
    };
    let Prepared { config, programs, lock, .. } = prepared;
    // For as long as a launcher of a supervisor in the background would hold it.
    let mut held = Some((lock, programs));
    let report = move |event: &LaunchEvent| {
        if matches!(event, LaunchEvent::Up(_) | LaunchEvent::Failed(_)) {
            drop(held.take());
        }
        observe(event);
    };
    supervisor::run(home, config, components, Place::Foreground, Box::new(report))
}

/// Everything a supervisor needs in order to be started, and what must be held until it runs.
struct Prepared {
    config: LaunchConfig,
    programs: Vec<Ready>,
    lock: Lock,
    /// Maximum time without a report.
    silence_limit: Duration,
}

/// Finds out that nothing runs, and that something can be started; else what runs already.
fn prepare(
    home: &Home,
    components: Components,
    request: &StartRequest,
    wait: bool,
    progress: &dyn Progress,
    observe: &mut dyn FnMut(&LaunchEvent),
) -> Result<Result<Prepared, Started>, SuperviseError> {
    if let Found::Up(status) = client::look(home)
        && (status.is_ready() || !(wait || status.stopping))
    {
        return Ok(Err(already(status, components, request)));
    }
    if !home.is_explicit() && platform::is_foreign_home(home.root()) {
        // What the administrator makes in there, its owner could not use any more.
        return Err(ComponentError::from(StoreError::ForeignHome { path: home.root().to_owned() }).into());
    }
    let settings = Config::read(home)?;
    let silence_limit = settings.server.start_timeout + settings.server.stop_timeout + STOP_MARGIN;
    let lock = lock::start(home, silence_limit, &mut |holder| progress.waiting(holder, silence_limit))?;
    if let Some(already) = running(home, components, request, wait, &settings.server)? {
        return Ok(Err(already));
    }
    let port = request.port.unwrap_or(settings.server.port);
    let config = LaunchConfig::new(home, &settings, components, port, &request.local)?;
    // Here, and not only in the supervisor, so that a terminal sees the progress and the errors of it. What is
    // given back is kept until the supervisor has its own.
    let programs = resolve(home, &settings, components, &request.local, progress, observe)?;
    port::check(port, components)?;
    Ok(Ok(Prepared { config, programs, lock, silence_limit }))
}

/// Extracts or checks every bundled component that is to start.
///
/// # Errors
/// One of them cannot be had.
pub fn resolve(
    home: &Home,
    config: &Config,
    components: Components,
    local: &BTreeMap<String, PathBuf>,
    progress: &dyn Progress,
    observe: &mut dyn FnMut(&LaunchEvent),
) -> Result<Vec<Ready>, ComponentError> {
    let bundled = components.bundled().filter(|spec| spec.is_active(config));
    bundled
        .map(|spec| {
            observe(&LaunchEvent::Preparing { component: spec.name.to_owned() });
            let local = local.get(spec.name).map(PathBuf::as_path);
            component::resolve(home, spec.name, local, Depth::Evidence, progress)
        })
        .collect()
}

/// What runs already, if something does, for who holds the launchers' lock. One that stops is waited for, and so is the end of
/// a start whose launcher has gone away.
fn running(
    home: &Home,
    components: Components,
    request: &StartRequest,
    wait: bool,
    settings: &config::Server,
) -> Result<Option<Started>, SuperviseError> {
    let status = match client::look(home) {
        Found::Up(status) => status,
        Found::Hung { pid } => return Err(SuperviseError::Hung { pid }),
        Found::Barred { pid, error } => return Err(SuperviseError::Barred { pid, source: error }),
        Found::Absent => return Ok(None),
        Found::Crashed { .. } => {
            // What it left may hold the very port that is wanted.
            client::end_remains(home)?;
            return Ok(None);
        }
    };
    if status.is_ready() || !(wait || status.stopping) {
        return Ok(Some(already(status, components, request)));
    }
    let Some(state) = ServerState::read(home) else {
        return Ok(None);
    };
    let limit = settings.stop_timeout * 2 + STOP_MARGIN;
    if status.stopping {
        let ended = state.identity.wait_for_end(limit);
        return if ended { Ok(None) } else { Err(SuperviseError::Hung { pid: status.pid }) };
    }
    match client::await_start(home, &state, settings.start_timeout + limit) {
        Ok(Awaited::Runs(status)) => Ok(Some(already(status, components, request))),
        Ok(Awaited::Failed(failure)) => Err(SuperviseError::Failed(failure)),
        Ok(Awaited::Stopped) => Err(SuperviseError::Stopped),
        // It was killed meanwhile.
        Err(_) if !state.identity.is_alive() => Ok(None),
        Err(_) => Err(SuperviseError::Hung { pid: status.pid }),
    }
}

fn already(status: Box<Status>, components: Components, request: &StartRequest) -> Started {
    Started::Already { differences: differences(&status, components, request), status }
}

/// In what the running `status` differs from what a start now would bring up.
fn differences(status: &Status, components: Components, request: &StartRequest) -> Vec<String> {
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
    let running = status.local_binaries(components.bundled().next().map(|spec| spec.name));
    for spec in components.bundled() {
        let describe = |paths: &BTreeMap<String, PathBuf>| match paths.get(spec.name) {
            Some(path) => format!("`{}`", path.display()),
            None => "the bundled one".to_owned(),
        };
        let (runs, wanted) = (describe(&running), describe(&request.local));
        if runs != wanted {
            found.push(format!("its {} is {runs}, not {wanted}", spec.name));
        }
    }
    found.extend(super::skew::compare(status).map(|skew| skew.words()));
    found
}

/// Whether there is room for the little that a start writes. Asked before what runs is stopped, so that a full disk does not end it.
pub fn check_room(home: &Home) -> Result<(), SuperviseError> {
    /// More than the files below `run/` come to.
    const PROBE_BYTES: usize = 64 << 10;
    platform::create_private_dir(&home.run())?;
    let path = home.run();
    let mut file = tempfile::Builder::new().prefix(".room-").tempfile_in(&path)?;
    let written = file.write_all(&vec![0; PROBE_BYTES]).and_then(|()| file.as_file().sync_data());
    Ok(written.map_err(|error| {
        io::Error::new(error.kind(), format!("failed to write in `{}`: {error}", path.display()))
    })?)
}

/// Starts a supervisor in a session of its own, and tells it what to do.
fn spawn(home: &Home, config: &LaunchConfig) -> Result<Child, SuperviseError> {
    // What components say and keep is nobody else's business on a machine with several people.
    platform::create_private_dir(&home.logs())?;
    platform::create_private_dir(&home.data())?;
    let log =
        fs_err::OpenOptions::new().create(true).append(true).open(logs::file(&home.logs(), SUPERVISOR))?;
    let line = line::encode(config)?;
    // The very file that runs here: what it is told is in the words of this version.
    let mut command = platform::command(&platform::own_program()?);
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

/// Hears the supervisor until everything is ready or something has failed; without `wait`, until it can be asked.
fn attend(
    home: &Home,
    supervisor: &mut Child,
    wait: bool,
    silence_limit: Duration,
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
    let deadline = Instant::now() + silence_limit;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(LaunchEvent::Up(status)) => return Ok(*status),
            Ok(LaunchEvent::Failed(failure)) => {
                // It has stopped what it had started, and is on its way out.
                let _ = supervisor.wait();
                return Err(SuperviseError::Failed(failure));
            }
            Ok(event) => {
                observe(&event);
                if !wait
                    && matches!(event, LaunchEvent::Listening { .. })
                    && let Found::Up(status) = client::look(home)
                {
                    return Ok(*status);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Its children end with it.
                let _ = supervisor.kill();
                let _ = supervisor.wait();
                return Err(SuperviseError::Silent { limit: silence_limit });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = supervisor.wait()?;
                if status.success() {
                    return Err(SuperviseError::Stopped);
                }
                let files = [(SUPERVISOR.to_owned(), logs::file(&home.logs(), SUPERVISOR))];
                let log = logs::tail(&files, 20).unwrap_or_default();
                return Err(SuperviseError::SupervisorEnded {
                    status: super::describe_exit(status),
                    log: log.into_iter().map(|line| line.text).collect(),
                });
            }
        }
    }
}
