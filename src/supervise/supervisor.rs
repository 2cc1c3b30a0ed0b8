//! The one loop that owns all state: messages of processes, commands, signals and times come in, one after the other.
//!
//! Single-threaded on purpose. Nothing here is shared, so nothing is locked; and on Linux the kernel's
//! notice of a parent's death is bound to the *thread* that started the child, which here is the process itself.
//! Between two events the process sleeps; one thing only happens by the clock, that the server is asked how it is.

mod processes;
mod stopping;
mod watching;

use super::child::{Children, Message, Program};
use super::components::{ComponentSpec, Components, Contact, Source};
use super::control::{self, Asked, Command, Reply, Status};
use super::fleet::{Fleet, Happening, Start};
use super::health::Health;
use super::identity::Identity;
use super::last_end::{LastEnd, Why};
use super::lifecycle::Policy;
use super::lock;
use super::logs::{self, Sink};
use super::signals::Signals;
use super::skew;
use super::slot::Slot;
use super::state::{STATE_SCHEMA, ServerState, end_leftovers};
use super::{LaunchConfig, LaunchEvent, Place, Report, StartFailure, SuperviseError};
use crate::component::Ready;
use crate::home::Home;
use crate::lock::Lock;
use crate::platform;
use crate::store::{Depth, Silent};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stigmer_protocol::environment::Environment;
use stigmer_protocol::redact::Redactor;
use stigmer_protocol::token::Token;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use watching::Probed;

/// How often a worker heartbeats, in milliseconds.
pub const HEARTBEAT_MS: u64 = 1000;

/// Runs a supervisor until it is told to stop.
///
/// # Errors
/// Something at the start failed; whatever was started by then has ended.
pub fn run(
    home: &Home,
    config: LaunchConfig,
    components: Components,
    place: Place,
    report: Report,
) -> Result<(), SuperviseError> {
    let limit = Duration::from_millis(config.stop_timeout_ms);
    let instance = config.instance.clone();
    let outcome = prepare(home, &config, components, limit).and_then(|(lock, members)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(supervise(home, config, &members, (place, report)));
        // These are held for life: who holds the lock is the supervisor, and the entries are in use.
        drop((members, lock));
        outcome
    });
    match &outcome {
        // Whoever holds the lock will say how that went; how a component failed has been said.
        Ok(()) | Err(SuperviseError::Locked(_) | SuperviseError::Failed(_)) => {}
        Err(error) => {
            let failure = Box::new(StartFailure::of_supervisor(error));
            let _ = LastEnd::now(&instance, Why::StartFailed { failure }).write(home);
        }
    }
    outcome
}

/// A component that takes part in this run, and its program if it is not this executable.
type Member = (&'static ComponentSpec, Option<Ready>);

fn prepare(
    home: &Home,
    config: &LaunchConfig,
    components: Components,
    limit: Duration,
) -> Result<(Lock, Vec<Member>), SuperviseError> {
    platform::name_process(c"stigmer-super");
    let lock = lock::server(home, limit)?;
    platform::create_private_dir(&home.logs())?;
    // If there is a record, it is of a supervisor that ended badly: we hold its lock.
    end_leftovers(home);
    ServerState::remove(home);
    platform::end_children_with_us()?;
    if let Some(name) = config.components.keys().find(|name| components.find(name).is_none()) {
        return Err(io::Error::other(format!("unknown component `{name}`")).into());
    }
    let mut members = Vec::new();
    for spec in components.iter() {
        let Some(launch) = config.components.get(spec.name) else { continue };
        let local = launch.local.as_ref().map(Path::new);
        // The launcher has just looked at the whole entry, and holds it until we do.
        let depth = Depth::Entrypoint;
        let ready = match spec.source {
            Source::Role { .. } => None,
            Source::Bundled => Some(crate::component::resolve(home, spec.name, local, depth, &Silent)?),
        };
        members.push((spec, ready));
    }
    Ok((lock, members))
}

async fn supervise(
    home: &Home,
    config: LaunchConfig,
    members: &[Member],
    attended: (Place, Report),
) -> Result<(), SuperviseError> {
    let token = Token::obtain(&home.run())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let state = ServerState {
        schema: STATE_SCHEMA,
        instance: config.instance.clone(),
        identity: Identity::own()?,
        control: listener.local_addr()?,
        version: crate::VERSION.to_owned(),
        executable: config.executable.0.clone(),
        since: stigmer_protocol::time::now(),
        children: Vec::new(),
    };
    state.write(home)?;
    LastEnd::remove(home);
    let (asked_sender, asked) = mpsc::channel(16);
    let places = Arc::new(Semaphore::new(control::MAX_CLIENTS));
    let door = tokio::spawn(control::serve(listener, token.clone(), asked_sender, Arc::clone(&places)));
    let mut supervisor = Supervisor::new(home.clone(), config, token, members, state, attended)
        .inspect_err(|_| ServerState::remove(home))?;
    let outcome = supervisor.live(asked).await;
    supervisor.children.end_strays(&supervisor.sink);
    supervisor.leave_word(&outcome);
    ServerState::remove(home);
    let mut watchers = std::mem::take(&mut supervisor.watchers);
    for watcher in watchers.drain(..) {
        let _ = watcher.try_send(Reply::Stopped);
    }
    supervisor.settle(&match &outcome {
        Err(SuperviseError::Failed(failure)) => Reply::Failed(failure.clone()),
        _ => Reply::Stopped,
    });
    door.abort();
    // Let the last words out.
    let clients = u32::try_from(control::MAX_CLIENTS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_millis(300), places.acquire_many(clients)).await;
    if let Err(SuperviseError::Failed(failure)) = &outcome {
        supervisor.tell(&LaunchEvent::Failed(failure.clone()));
    }
    supervisor.sink.event("ended");
    outcome
}

struct Supervisor {
    home: Home,
    config: LaunchConfig,
    token: Token,
    /// Index of the component that serves the API.
    api: usize,
    state: ServerState,
    place: Place,
    report: Option<Report>,
    sink: Sink,
    /// What is decided about the components; here it is only done.
    fleet: Fleet,
    health: Health,
    probes: (mpsc::UnboundedSender<Probed>, mpsc::UnboundedReceiver<Probed>),
    slots: Vec<Slot>,
    children: Children,
    messages: (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>),
    /// Where the server listens, from its first readiness on: workers keep this address over its restarts.
    server: Option<SocketAddr>,
    failure: Option<Box<StartFailure>>,
    /// Why it ends, once that is known.
    why: Option<Why>,
    /// What the footer of the own executable says.
    build: Option<String>,
    /// While it stops: when to say next whom it waits for.
    stopping: Option<Instant>,
    /// When it was first told to stop by a signal.
    signalled: Option<Instant>,
    watchers: Vec<mpsc::Sender<Reply>>,
    /// Who waits for the end of the start.
    awaiting: Vec<mpsc::Sender<Reply>>,
}

impl Supervisor {
    fn new(
        home: Home,
        config: LaunchConfig,
        token: Token,
        members: &[Member],
        state: ServerState,
        (place, report): (Place, Report),
    ) -> Result<Self, SuperviseError> {
        let start_timeout = Duration::from_millis(config.start_timeout_ms);
        let policy = Policy {
            hang_timeout: Some(Duration::from_millis(config.hang_timeout_ms))
                .filter(|limit| !limit.is_zero()),
            first_pause: Duration::from_millis(config.restart_pause_ms),
            ..Policy::new(start_timeout, Duration::from_millis(config.stop_timeout_ms))
        };
        let own = platform::own_program()?;
        let mut slots = Vec::new();
        for (spec, ready) in members {
            let work_dir = home.data().join(spec.name);
            platform::create_private_dir(&work_dir)?;
            let program = match (spec.source, ready) {
                (Source::Role { command, .. }, _) => {
                    Program::role(own.clone(), command, &work_dir, home.root())
                }
                (Source::Bundled, Some(ready)) => {
                    Program::foreign(own.clone(), &ready.program, &work_dir, home.root())
                }
                (Source::Bundled, None) => continue,
            };
            let Some(launch) = config.components.get(spec.name).cloned() else { continue };
            let mut slot = Slot::new(spec, launch, program, logs::file(&home.logs(), spec.name), work_dir)?;
            slot.payload = ready.as_ref().and_then(|ready| ready.digest);
            slot.published_as = slot
                .launch
                .local
                .as_ref()
                .and_then(|path| home.runners().name_of(path.as_ref()).map(str::to_owned));
            slots.push(slot);
        }
        let api = slots
            .iter()
            .position(|slot| slot.spec.contact == Contact::Api)
            .ok_or_else(|| io::Error::other("no component serves the API"))?;
        let place_of = |name: &str| slots.iter().position(|slot| slot.spec.name == name);
        // One that is not part of this run is not waited for.
        let needs =
            slots.iter().map(|slot| slot.spec.needs.iter().filter_map(|name| place_of(name)).collect());
        let needs: Vec<Vec<usize>> = needs.collect();
        let children = Children::new(&state.instance);
        let sink = Sink::open(logs::file(&home.logs(), "supervisor"), "supervisor")?;
        sink.event(&format!("started as process {}, instance {}", std::process::id(), config.instance));
        let secrets = config
            .components
            .values()
            .fold(Environment::default(), |all, launch| all.and(&launch.environment));
        let redactor = Redactor::new(&token, &secrets);
        for sink in slots.iter().map(|slot| &slot.sink).chain([&sink]) {
            sink.hide(&redactor);
        }
        Ok(Self {
            api,
            health: Health::new(slots.len(), api),
            probes: mpsc::unbounded_channel(),
            fleet: Fleet::new(needs, policy, start_timeout, Instant::now()),
            home,
            config,
            token,
            state,
            place,
            report: Some(report),
            sink,
            slots,
            children,
            messages: mpsc::unbounded_channel(),
            server: None,
            failure: None,
            why: None,
            build: skew::own_digest(),
            stopping: None,
            signalled: None,
            watchers: Vec::new(),
            awaiting: Vec::new(),
        })
    }

    /// Starts everything, and keeps it running until a stop has come to its end.
    async fn live(&mut self, mut asked: mpsc::Receiver<Asked>) -> Result<(), SuperviseError> {
        let mut signals = Signals::new()?;
        self.tell(&LaunchEvent::Listening { pid: std::process::id() });
        self.happen(Happening::Begin).await;
        while !self.fleet.is_over() {
            let due = self.next_time();
            tokio::select! {
                // Processes first: what they say is the ground of every answer.
                biased;
                Some(message) = self.messages.1.recv() => self.hear(message).await,
                Some(probed) = self.probes.1.recv() => self.probed(probed).await,
                Some(question) = asked.recv() => self.answer(question).await,
                name = signals.next() => self.signalled(name).await,
                () = sleep_until(due) => self.times(Instant::now()).await,
            }
        }
        match self.failure.take() {
            Some(failure) => Err(SuperviseError::Failed(failure)),
            None => Ok(()),
        }
    }

    /// When something is due by itself.
    fn next_time(&self) -> Option<Instant> {
        [self.fleet.timer(), self.health.due(), self.stopping].into_iter().flatten().min()
    }

    async fn times(&mut self, now: Instant) {
        // First: if the machine slept, no other time has really come.
        self.watch(now).await;
        self.happen(Happening::Time).await;
        if let Some(due) = self.stopping
            && due <= now
        {
            self.stopping = Some(now + Duration::from_secs(1));
            self.tell_watchers();
        }
    }

    async fn answer(&mut self, question: Asked) {
        match question.command {
            Command::Status => {
                let status = Reply::Status(Box::new(self.status()));
                let _ = question.replies.try_send(status);
            }
            Command::Await => {
                self.awaiting.push(question.replies);
                if self.fleet.start() == Start::Succeeded && !self.fleet.is_stopping() {
                    let status = Reply::Status(Box::new(self.status()));
                    self.settle(&status);
                }
            }
            Command::Stop => {
                self.sink.event(&format!("told to stop by {}", named(question.by.as_deref())));
                self.why.get_or_insert(Why::Asked { by: question.by });
                self.watchers.push(question.replies);
                self.begin_stop().await;
            }
            Command::Kill => {
                let by = named(question.by.as_deref());
                self.sink.event(&format!("told by {by} to end everything at once"));
                self.why.get_or_insert(Why::Asked { by: question.by });
                self.watchers.push(question.replies);
                self.stop_now().await;
            }
        }
    }

    /// Leaves a record of how it ends, for a later `status`.
    fn leave_word(&mut self, outcome: &Result<(), SuperviseError>) {
        let why = match outcome {
            Err(SuperviseError::Failed(failure)) => Why::StartFailed { failure: failure.clone() },
            // That is recorded where all such errors arrive.
            Err(_) => return,
            Ok(()) => self.why.take().unwrap_or(Why::Asked { by: None }),
        };
        if let Err(error) = LastEnd::now(&self.config.instance, why).write(&self.home) {
            self.sink.event(&format!("cannot write how it ended: {error}"));
        }
    }

    fn status(&self) -> Status {
        let bundled = self.slots.iter().find(|slot| slot.spec.is_bundled());
        Status {
            instance: self.config.instance.clone(),
            pid: std::process::id(),
            version: crate::VERSION.to_owned(),
            executable: self.config.executable.0.clone(),
            executable_state: self.config.executable.1.clone(),
            build: self.build.clone(),
            home: self.home.root().display().to_string(),
            since: self.state.since.clone(),
            url: self.server.map(|address| format!("http://{address}")),
            port: self.config.port,
            local_binary: bundled.and_then(|slot| slot.launch.local.clone()),
            runner: bundled.and_then(|slot| slot.published_as.clone()),
            payload: bundled.and_then(|slot| slot.payload).map(|digest| digest.to_string()),
            stopping: self.fleet.is_stopping(),
            memory_bytes: platform::resident_bytes(std::process::id()),
            components: self
                .slots
                .iter()
                .enumerate()
                .map(|(index, slot)| slot.status(self.fleet.life(index)))
                .collect(),
        }
    }

    /// The start is over: tells it to everybody who waits for that.
    fn settle(&mut self, outcome: &Reply) {
        for waiting in self.awaiting.drain(..) {
            let _ = waiting.try_send(outcome.clone());
        }
    }

    fn tell(&mut self, event: &LaunchEvent) {
        if let Some(report) = &mut self.report {
            report(event);
        }
        if self.place == Place::Background && matches!(event, LaunchEvent::Up(_) | LaunchEvent::Failed(_)) {
            // The launcher goes away now.
            self.report = None;
        }
    }
}

/// The command that asks, if it said its name.
fn named(by: Option<&str>) -> String {
    by.map_or_else(|| "a command".to_owned(), |by| format!("`stigmer {by}`"))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
