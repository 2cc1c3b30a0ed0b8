//! One process of a component: how it is started, what it says, and that its end is noticed.
//!
//! Its standard input is the config and then the lifeline: we hold the only writing end, so the process
//! sees the end of the file when we are gone, however that happens. Standard output is the handshake, standard error
//! the log. Three streams every system gives every process; nothing has to be passed by number or by name.

use super::environment;
use super::logs::{Sink, pump};
use super::protocol::{self, ComponentConfig, Handshake, MAX_LINE};
use crate::platform::{self, ParentDeath};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, oneshot};

/// How a component's process is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// What to execute.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// The home directory it is to use.
    pub home: PathBuf,
    /// What the kernel sends it if we die.
    pub parent_death: ParentDeath,
}

/// What a process has to say.
#[derive(Debug)]
pub enum Said {
    /// Its handshake, or why it is none.
    Handshake(Result<Handshake, String>),
    /// It closed its standard output without a handshake. A process that ends does that too.
    Closed,
    /// It has ended, its group is gone, and everything it wrote is in the log.
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
    /// Its id.
    pub pid: u32,
    started: Option<u64>,
    /// While this is here, its standard input is open.
    stdin: Option<oneshot::Sender<Infallible>>,
}

impl Running {
    /// Asks it to end.
    pub fn terminate(&mut self) {
        if self.is_gone() {
            return;
        }
        if !platform::ask_to_end(self.pid) {
            self.stdin = None;
        }
    }

    /// Ends it, and everything it started.
    pub fn kill(&self) {
        if !self.is_gone() {
            platform::kill_group(self.pid);
        }
    }

    /// Whether it has ended, though its end may not have been heard yet: its id could be somebody else's by now.
    fn is_gone(&self) -> bool {
        platform::process_started(self.pid) != self.started
    }
}

/// After the process itself is gone, a process it left behind may hold its pipes open; they are not waited for longer.
const LEFTOVERS: Duration = Duration::from_millis(300);

/// Starts a process, and lets it be heard on `messages` as number `number` of the component with index `component`.
#[expect(clippy::unused_async, reason = "it spawns tasks, so it must be called inside of a runtime")]
pub async fn start(
    program: &Program,
    config: &ComponentConfig,
    sink: &Sink,
    (component, number): (usize, u64),
    messages: mpsc::UnboundedSender<Message>,
) -> io::Result<Running> {
    let line = protocol::line(config)?;
    let mut command = platform::command(&program.path);
    environment::only_plain(&mut command)
        .args(&program.args)
        .current_dir(&program.directory)
        .env(crate::home::HOME_VARIABLE, &program.home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    platform::in_own_group(&mut command, program.parent_death);
    let mut child = tokio::process::Command::from(command).spawn()?;
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
    let handshake = tokio::spawn(hear(stdout, sink.clone(), (component, number), messages.clone()));
    tokio::spawn(attend(child, pid, [log, handshake], (component, number), messages));
    Ok(Running { pid, started, stdin: Some(stdin) })
}

/// Waits for the end of the process, tidies up behind it, and says so last of all.
async fn attend(
    mut child: Child,
    pid: u32,
    pipes: [tokio::task::JoinHandle<()>; 2],
    (component, number): (usize, u64),
    messages: mpsc::UnboundedSender<Message>,
) {
    let status = child.wait().await;
    platform::kill_group(pid);
    for pipe in pipes {
        let _ = tokio::time::timeout(LEFTOVERS, pipe).await;
    }
    let said = Said::Ended(status);
    let _ = messages.send(Message { component, number, said });
}

/// Hears the handshake; what follows it is log.
async fn hear(
    stdout: ChildStdout,
    sink: Sink,
    (component, number): (usize, u64),
    messages: mpsc::UnboundedSender<Message>,
) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    let said = match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => Said::Closed,
        Ok(_) => Said::Handshake(
            Handshake::parse(&line).map(|handshake| handshake.cleaned(&sink.redactor())).map_err(|_| {
                let text = String::from_utf8_lossy(&line);
                sink.write("stdout", &[text.trim_end()]);
                "its first line on standard output is no handshake".to_owned()
            }),
        ),
    };
    let _ = messages.send(Message { component, number, said });
    pump(reader, "stdout", sink).await;
}
