//! One process of a component: how it is started, what it says, and that its end is noticed.
//!
//! Its standard input is the config and then the lifeline: we hold the only writing end, so the process
//! sees the end of the file when we are gone, however that happens. Standard output is the handshake, standard error
//! the log. Three streams every system gives every process; nothing has to be passed by number or by name.

use super::environment;
use super::identity::Identity;
use super::instance::{INSTANCE_VARIABLE, mark};
use super::logs::{Sink, pump};
use crate::platform::{self, ParentDeath};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stigmer_protocol::component::{Attending, ComponentConfig, Handshake};
use stigmer_protocol::line::{self, MAX_LINE_BYTES};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, oneshot};

/// How a component's process is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// What to execute.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// The home directory it is to use.
    pub home: PathBuf,
    /// Whether what is executed is an attendant, which starts the component.
    pub attended: bool,
}

impl Program {
    /// One of our own roles: it ends with its supervisor because it is written to.
    pub fn role(own: PathBuf, name: &str, directory: &Path, home: &Path) -> Self {
        Self {
            path: own,
            args: vec![name.into(), "--supervised".into()],
            directory: directory.to_owned(),
            home: home.to_owned(),
            attended: false,
        }
    }

    /// A program that is not ours. `own` attends to it, except where a job object does.
    pub fn foreign(own: PathBuf, program: &Path, directory: &Path, home: &Path) -> Self {
        let attended = cfg!(unix);
        let (path, args) = if attended {
            let words: [OsString; 2] = ["internal-attendant".into(), "--".into()];
            (own, words.into_iter().chain([program.into(), "--supervised".into()]).collect())
        } else {
            (program.to_owned(), vec!["--supervised".into()])
        };
        Self { path, args, directory: directory.to_owned(), home: home.to_owned(), attended }
    }
}

/// The children of this process that somebody looks after. Any other child is an orphan that was left to us.
///
/// All of this happens in one thread, and nothing is awaited between the start of a process and its entry here.
#[derive(Debug, Clone)]
pub struct Children {
    pids: Arc<Mutex<BTreeSet<u32>>>,
    mark: String,
}

impl Children {
    /// Nobody yet, but who was there before us: a process may become a supervisor and have children by then.
    pub fn new(instance: &str) -> Self {
        let pids = Arc::new(Mutex::new(platform::own_children().into_iter().collect()));
        Self { pids, mark: mark(instance) }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<u32>)) {
        change(&mut self.pids.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the orphans that were left to us, with all that is below them, and says whom in `sink`.
    pub fn end_strays(&self, sink: &Sink) {
        let keep = self.pids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ending = platform::end_strays(&keep, &self.mark, TREE_LIMIT);
        if !ending.ended.is_empty() {
            sink.event(&format!("ended processes that were left behind: {:?}", ending.ended));
        }
        if !ending.left.is_empty() {
            sink.event(&format!("cannot end processes that were left behind: {:?}", ending.left));
        }
    }
}

/// How long a killed tree is waited for. The supervisor does nothing else meanwhile; only a process that hangs in the
/// kernel takes as long.
const TREE_LIMIT: Duration = Duration::from_secs(1);

/// What a process has to say.
#[derive(Debug)]
pub enum Said {
    /// Its attendant says which process it is.
    Attending(u32),
    /// Its handshake, or why it is none.
    Handshake(Result<Handshake, String>),
    /// It closed its standard output without a handshake. A process that ends does that too.
    Closed,
    /// It has ended, what it left behind too, and everything it wrote is in the log.
    Ended(io::Result<ExitStatus>),
}

/// A message of one process. Processes are numbered, so that a late word of an earlier one is not taken for the present one's.
#[derive(Debug)]
pub struct Message {
    /// The index of the component.
    pub component: usize,
    /// The number of its process.
    pub number: u64,
    /// What it says.
    pub said: Said,
}

/// A running process.
#[derive(Debug)]
pub struct Running {
    /// The id of our child: the component itself, or its attendant.
    pid: u32,
    started: Option<u64>,
    /// The component, below its attendant.
    attended: Option<Identity>,
    has_attendant: bool,
    /// While this is here, its standard input is open.
    stdin: Option<oneshot::Sender<Infallible>>,
}

impl Running {
    /// The component's process id, as soon as it is known.
    pub fn pid(&self) -> Option<u32> {
        if self.has_attendant { self.attended.as_ref().map(|one| one.pid) } else { Some(self.pid) }
    }

    /// Its attendant's process id, if it has one.
    pub fn attendant_pid(&self) -> Option<u32> {
        self.has_attendant.then_some(self.pid)
    }

    /// Everybody who is to end with it.
    pub fn identities(&self) -> impl Iterator<Item = Identity> {
        Identity::of(self.pid).into_iter().chain(self.attended.clone())
    }

    /// Takes note of the component's process; `false` if `pid` is no child of its attendant.
    pub fn attends(&mut self, pid: u32) -> bool {
        if !self.has_attendant || self.is_gone() || platform::parent_of(pid) != Some(self.pid) {
            return false;
        }
        self.attended = Identity::of(pid);
        self.attended.is_some()
    }

    /// Asks it to end.
    pub fn terminate(&mut self) {
        if self.is_gone() {
            return;
        }
        if !platform::ask_to_end(self.pid) {
            self.stdin = None;
        }
    }

    /// Ends it, and before it everything below it. Gives the ids of those that do not end.
    pub fn kill(&self) -> Vec<u32> {
        self.started.map(|started| platform::end_tree(self.pid, started, TREE_LIMIT).left).unwrap_or_default()
    }

    /// Our child has ended. Where the component does not end with its attendant, that is done here.
    pub fn end_remains(&self) {
        if let Some(component) = self.attended.as_ref().filter(|component| component.is_alive()) {
            platform::end_tree(component.pid, component.started, TREE_LIMIT);
        }
    }

    /// Whether it has ended, though its end may not have been heard yet: its id could be somebody else's by now.
    fn is_gone(&self) -> bool {
        platform::process_started(self.pid) != self.started
    }
}

/// After the process itself is gone, a process it left behind may hold its pipes open; they are not waited for longer.
const PIPE_TIMEOUT: Duration = Duration::from_millis(300);

/// Starts a process, and lets it be heard on `messages` as number `number` of the component with index `component`.
#[expect(clippy::unused_async, reason = "it spawns tasks, so it must be called inside of a runtime")]
pub async fn start(
    program: &Program,
    config: &ComponentConfig,
    sink: &Sink,
    children: &Children,
    (component, number): (usize, u64),
    messages: mpsc::UnboundedSender<Message>,
) -> io::Result<Running> {
    let line = line::encode(config)?;
    let mut command = platform::command(&program.path);
    environment::only_plain(&mut command)
        .args(&program.args)
        .current_dir(&program.directory)
        .env(crate::home::HOME_VARIABLE, &program.home)
        .env(INSTANCE_VARIABLE, &config.instance)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let parent_death = if program.attended { ParentDeath::Wake } else { ParentDeath::Kill };
    platform::in_own_group(&mut command, parent_death);
    let mut child = tokio::process::Command::from(command).spawn()?;
    children.change(|all| all.extend(child.id()));
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take(), child.id());
    let (Some(mut lifeline), Some(stdout), Some(stderr), Some(pid)) = streams else {
        return Err(io::Error::other("the system gave no pipes"));
    };
    // Asked before it can have been reaped.
    let started = platform::process_started(pid);
    let (stdin, mut kept) = oneshot::channel();
    tokio::spawn(async move {
        // It may be longer than what the pipe holds, and the process may be in no hurry to read it: nobody else is to wait for that.
        // A process that has ended already is noticed below.
        tokio::select! {
            _ = lifeline.write_all(&line) => { let _ = kept.await; }
            _ = &mut kept => {}
        }
    });
    let log = tokio::spawn(pump(stderr, "stderr", sink.clone()));
    let say = move |said| {
        let _ = messages.send(Message { component, number, said });
    };
    let has_attendant = program.attended;
    let handshake = tokio::spawn(hear(stdout, has_attendant, sink.clone(), say.clone()));
    tokio::spawn(attend(child, pid, [log, handshake], (children.clone(), sink.clone()), say));
    Ok(Running { pid, started, attended: None, has_attendant, stdin: Some(stdin) })
}

/// Waits for the end of the process, tidies up behind it, and says so last of all.
async fn attend(
    mut child: Child,
    pid: u32,
    pipes: [tokio::task::JoinHandle<()>; 2],
    (children, sink): (Children, Sink),
    say: impl Fn(Said),
) {
    let status = child.wait().await;
    children.change(|all| {
        all.remove(&pid);
    });
    // An attendant that was killed has left its processes to us.
    children.end_strays(&sink);
    for pipe in pipes {
        let _ = tokio::time::timeout(PIPE_TIMEOUT, pipe).await;
    }
    say(Said::Ended(status));
}

/// Hears the handshake, and before it the attendant if there is one; what follows is log.
async fn hear(stdout: ChildStdout, has_attendant: bool, sink: Sink, say: impl Fn(Said)) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    if has_attendant {
        let _ = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await;
        // Otherwise nothing was started, and what was read is the attendant's own handshake.
        if let Some(Attending::Attending { pid }) = Attending::parse(&line) {
            say(Said::Attending(pid));
            line.clear();
        }
    }
    if line.is_empty() {
        let _ = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await;
    }
    say(if line.is_empty() {
        Said::Closed
    } else {
        let said = Handshake::parse(&line).map(|handshake| handshake.cleaned(&sink.redactor()));
        Said::Handshake(said.map_err(|_| {
            let text = String::from_utf8_lossy(&line);
            sink.write("stdout", &[text.trim_end()]);
            "its first line on standard output is no handshake".to_owned()
        }))
    });
    pump(reader, "stdout", sink).await;
}
