//! What the supervisor keeps about one component, over all its processes.

use super::child::{Program, Running};
use super::components::ComponentSpec;
use super::control::{ComponentStatus, LastExit};
use super::lifecycle::{Lifecycle, Phase};
use super::logs::Sink;
use super::{ComponentLaunch, StartFailure, describe_exit};
use crate::bundle::Digest;
use crate::platform;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Instant, SystemTime};
use stigmer_protocol::component::EXIT_CONFIG;
use stigmer_protocol::time::now;

/// A component and its present process.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) spec: &'static ComponentSpec,
    /// What the launcher has decided for it.
    pub(super) launch: ComponentLaunch,
    pub(super) program: Program,
    pub(super) sink: Sink,
    pub(super) work_dir: PathBuf,
    pub(super) running: Option<Running>,
    /// Its present process by its own account: where it is a script, that may be another one than we started.
    pub(super) told_pid: Option<u32>,
    /// How many processes it has had.
    pub(super) number: u64,
    pub(super) began: Instant,
    pub(super) address: Option<SocketAddr>,
    /// Why its present process cannot become ready, in its own words or ours.
    pub(super) refusal: Option<(String, Option<String>)>,
    /// Digest of its payload, if it came from a bundle.
    pub(super) payload: Option<Digest>,
    /// Name under which its local build was published, if it was.
    pub(super) published_as: Option<String>,
    log: PathBuf,
    phase: Phase,
    since: String,
    ready_since: Option<String>,
    version: Option<String>,
    last_exit: Option<LastExit>,
}

impl Slot {
    pub(super) fn new(
        spec: &'static ComponentSpec,
        launch: ComponentLaunch,
        program: Program,
        log: PathBuf,
        work_dir: PathBuf,
    ) -> io::Result<Self> {
        Ok(Self {
            spec,
            launch,
            program,
            sink: Sink::open(log.clone(), spec.name)?,
            work_dir,
            running: None,
            told_pid: None,
            number: 0,
            began: Instant::now(),
            address: None,
            refusal: None,
            payload: None,
            published_as: None,
            log,
            phase: Phase::Waiting,
            since: now(),
            ready_since: None,
            version: None,
            last_exit: None,
        })
    }

    /// Notes the time of every change of phase.
    pub(super) fn note(&mut self, phase: Phase) {
        if phase == self.phase {
            return;
        }
        self.since = now();
        self.ready_since = (phase == Phase::Ready).then(|| self.since.clone());
        match (self.phase, phase) {
            (_, Phase::Unresponsive) => self.sink.event("not responding: no longer ready"),
            (Phase::Unresponsive, Phase::Ready) => self.sink.event("responding again: ready"),
            (_, Phase::CrashLooping) => self.sink.event("crash-looping: restarts are delayed"),
            _ => {}
        }
        self.phase = phase;
    }

    /// A process is about to be started.
    pub(super) fn begin(&mut self) {
        self.number += 1;
        self.began = Instant::now();
        self.refusal = None;
        self.told_pid = None;
        self.sink.forget_recent();
    }

    /// Its process says it is ready.
    pub(super) fn is_ready(&mut self, version: String, pid: u32, address: Option<SocketAddr>) {
        self.version = Some(version);
        self.told_pid = Some(pid);
        self.address = address;
        let took = self.began.elapsed().as_millis();
        self.sink.event(&format!("ready after {took} ms"));
    }

    /// Its process has ended, or could not be started. Gives the exit code.
    pub(super) fn ended(&mut self, outcome: io::Result<ExitStatus>) -> Option<i32> {
        self.running = None;
        let (code, signal, how) = match outcome {
            Ok(status) => {
                let (code, signal) = platform::exit_parts(status);
                (code, signal, describe_exit(status))
            }
            Err(error) => (None, None, error.to_string()),
        };
        let reason = match &self.refusal {
            Some((words, _)) => format!("{words} ({how})"),
            None => how,
        };
        self.sink.event(&format!("ended: {reason}"));
        self.last_exit = Some(LastExit { code, signal, time: now(), reason });
        code
    }

    /// Why it did not start, now that its process is gone.
    pub(super) fn failure(&self) -> StartFailure {
        let code = self.last_exit.as_ref().and_then(|exit| exit.code);
        let (reason, hint) = match (&self.refusal, &self.last_exit) {
            (Some(refusal), _) => refusal.clone(),
            (None, Some(exit)) => (format!("it ended before it was ready: {}", exit.reason), None),
            (None, None) => ("it was not ready".to_owned(), None),
        };
        StartFailure {
            component: self.spec.name.to_owned(),
            reason,
            hint,
            // Ours end with codes that are known; of a stranger only one has a meaning.
            code: code.filter(|code| *code == EXIT_CONFIG || !self.program.attended),
            log: self.sink.recent(),
        }
    }

    pub(super) fn status(&self, life: &Lifecycle) -> ComponentStatus {
        let pid = self.running.as_ref().and_then(Running::pid);
        ComponentStatus {
            name: self.spec.name.to_owned(),
            phase: self.phase,
            pid,
            attendant_pid: self.running.as_ref().and_then(Running::attendant_pid),
            since: self.since.clone(),
            ready_since: self.ready_since.clone(),
            not_ready: self.not_ready(),
            crash_looping: life.is_looping(),
            next_start: life.next_start().map(wall_clock),
            restarts: life.restarts(),
            last_exit: self.last_exit.clone(),
            version: self.version.clone(),
            address: self.address,
            port: self.address.map(|address| address.port()),
            payload: self.payload.map(|digest| digest.to_string()),
            local_binary: self.launch.local.clone(),
            published_as: self.published_as.clone(),
            memory_bytes: pid.and_then(platform::resident_bytes),
            log: self.log.display().to_string(),
        }
    }

    /// Why it is not ready, in words.
    fn not_ready(&self) -> Option<String> {
        let last = || self.last_exit.as_ref().map_or("for no known reason", |exit| exit.reason.as_str());
        Some(match self.phase {
            Phase::Ready => return None,
            Phase::Waiting => "a component that it needs is not ready".to_owned(),
            Phase::Starting => match &self.refusal {
                Some((words, _)) => words.clone(),
                None => "its process has not reported readiness yet".to_owned(),
            },
            Phase::Unresponsive => "its process is alive and not responding".to_owned(),
            Phase::Restarting | Phase::CrashLooping => format!("last exit: {}", last()),
            Phase::Failed => format!("invalid configuration: {}", last()),
            Phase::Stopping => "it was asked to stop".to_owned(),
            Phase::Stopped => "it has stopped".to_owned(),
        })
    }
}

/// A time to come, as a log has it.
fn wall_clock(then: Instant) -> String {
    let left = then.saturating_duration_since(Instant::now());
    humantime::format_rfc3339_millis(SystemTime::now() + left).to_string()
}
