//! The attendant: a small process between the supervisor and a program that is not ours.
//!
//! Our own roles end with their supervisor because they were written to. Of a foreign program, and of whatever it starts,
//! nobody can know that: a process may leave its group, its session and its parent. So such a program has an attendant as
//! its parent, which inherits all its orphans, outlives it, and ends last: when the attendant is gone, nothing is left.
//!
//! It stands aside: the component has the supervisor's three streams, not copies of them. The attendant reads none of them. It
//! passes requests to end on, sees on its standard input that the supervisor is gone, and ends as the component
//! ended, so that the supervisor learns the same as without it. It has one thread, because the kernel's notice of a
//! parent's death, which ends the component should the attendant be killed, is bound to a thread.

use crate::component::NOEXEC_HINT;
use crate::platform::{self, ANNOUNCEMENT, Forks, Tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getppid, kill_process, wait};
use signal_hook::{consts, flag, low_level::pipe};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stigmer_protocol::component::Handshake;
use stigmer_protocol::line::write_line;

/// How long the component may take to end by itself once the supervisor is gone.
const GRACE: Duration = Duration::from_millis(400);

/// How long its processes may take to end once they were killed. Longer takes only who hangs in the kernel.
const LIMIT: Duration = Duration::from_secs(5);

/// How often to look around where orphans cannot be inherited, beyond whenever somebody forks: a session that was seen once is
/// found again.
const LOOK: Option<Duration> = if cfg!(target_os = "linux") { None } else { Some(Duration::from_secs(1)) };

/// What is passed on to the component as it is.
const RELAYED: [(i32, Signal); 4] = [
    (consts::SIGTERM, Signal::TERM),
    (consts::SIGINT, Signal::INT),
    (consts::SIGHUP, Signal::HUP),
    (consts::SIGQUIT, Signal::QUIT),
];

/// Why there is nothing to attend to.
#[derive(Debug, thiserror::Error)]
pub enum AttendError {
    /// The program cannot be started.
    #[error("`{program}` cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The attendant cannot do its work.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs `program` and waits for its end, and for the end of everything it has started. Gives its exit code; if a
/// signal ended it, that signal ends this process too.
pub fn run(program: &Path, args: &[OsString]) -> Result<u8, AttendError> {
    platform::name_process(c"stigmer-attend");
    platform::adopt_orphans()?;
    let requests = Requests::new()?;
    let supervisor = getppid();
    let mut command = Command::new(program);
    command.args(args);
    platform::in_announced_session(&mut command, announce);
    let child = command.spawn().map_err(|source| {
        let error = AttendError::Start { program: program.display().to_string(), source };
        let barred = matches!(&error, AttendError::Start { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
        let hint = (barred && platform::is_noexec(program)).then(|| NOEXEC_HINT.to_owned());
        let failed = Handshake::Failed { reason: error.to_string(), hint };
        // If nobody listens, the exit code still tells.
        let _ = write_line(io::stdout().lock(), &failed);
        error
    })?;
    let component = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let component = component.ok_or_else(|| io::Error::other("the system gave no process id"))?;
    platform::close_stdout()?;
    let mut attendant = Attendant { component, status: None, tree: Tree::below(std::process::id()) };
    attendant.live(&requests, supervisor)?;
    attendant.end()
}

/// The line the component's process announces itself with. It runs between fork and exec: no allocation.
fn announce(pid: u32, line: &mut [u8; ANNOUNCEMENT]) -> usize {
    let mut rest = &mut line[..];
    let _ = writeln!(rest, r#"{{"event":"attending","pid":{pid}}}"#);
    let unused = rest.len();
    ANNOUNCEMENT - unused
}

struct Attendant {
    component: Pid,
    /// How the component ended, once it has.
    status: Option<WaitStatus>,
    tree: Tree,
}

impl Attendant {
    /// Waits until the component has ended, or the supervisor is gone and the component's time is up.
    fn live(&mut self, requests: &Requests, supervisor: Option<Pid>) -> io::Result<()> {
        let mut deadline = None;
        let input = io::stdin();
        let mut forks = Forks::new()?;
        loop {
            reap(self.component, &mut self.status);
            if self.status.is_some() {
                return Ok(());
            }
            for signal in requests.take() {
                self.send(signal);
            }
            if deadline.is_none() && (platform::stdin_is_abandoned() || getppid() != supervisor) {
                self.send(Signal::TERM);
                deadline = Some(Instant::now() + GRACE);
            }
            let left = deadline.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            forks.take();
            forks.watch(&self.tree.look());
            let timeout = left.or(LOOK).and_then(|time| Timespec::try_from(time).ok());
            let mut fds = vec![PollFd::new(&requests.wake, PollFlags::IN)];
            fds.extend(forks.wake().map(|queue| PollFd::from_borrowed_fd(queue, PollFlags::IN)));
            // The end of the input stays what it is; once it was seen, it would end every wait at once.
            if deadline.is_none() {
                fds.push(PollFd::new(&input, PollFlags::empty()));
            }
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends whatever the component has left, and itself as the component ended.
    fn end(mut self) -> Result<u8, AttendError> {
        let (component, status) = (self.component, &mut self.status);
        let ending = self.tree.end(LIMIT, || reap(component, status));
        reap(component, status);
        if !ending.left.is_empty() {
            let _ = writeln!(io::stderr(), "the attendant cannot end the processes {:?}", ending.left);
        }
        let Some(status) = self.status else {
            return Err(io::Error::other("the component does not end").into());
        };
        if let Some(signal) = status.terminating_signal() {
            platform::end_by_signal(signal);
            return Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX));
        }
        Ok(status.exit_status().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// Signals the component itself. It is our child and not reaped, so its id is nobody else's.
    fn send(&self, signal: Signal) {
        let _ = kill_process(self.component, signal);
    }
}

/// Takes note of every child that has ended: the component, and the orphans it left to us.
fn reap(component: Pid, status: &mut Option<WaitStatus>) {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, how))) if pid == component => *status = Some(how),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// What signals ask for, and the pipe that wakes the one who waits.
struct Requests {
    wake: UnixStream,
    asked: [(Arc<AtomicBool>, Signal); RELAYED.len()],
}

impl Requests {
    fn new() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let asked = RELAYED.map(|(_, signal)| (Arc::new(AtomicBool::new(false)), signal));
        for ((number, _), (flag, _)) in RELAYED.iter().zip(&asked) {
            // The note first, then the call: who wakes finds it.
            flag::register(*number, Arc::clone(flag))?;
            pipe::register(*number, waker.try_clone()?)?;
        }
        // A child has ended; or we were stopped, and something may have happened meanwhile.
        for number in [consts::SIGCHLD, consts::SIGCONT] {
            pipe::register(number, waker.try_clone()?)?;
        }
        Ok(Self { wake, asked })
    }

    /// What was asked since the last time.
    fn take(&self) -> Vec<Signal> {
        let mut buffer = [0_u8; 64];
        while matches!((&self.wake).read(&mut buffer), Ok(count) if count > 0) {}
        let asked = self.asked.iter().filter(|(flag, _)| flag.swap(false, Ordering::SeqCst));
        asked.map(|(_, signal)| *signal).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stigmer_protocol::component::Attending;

    #[test]
    fn the_announcement_is_a_line_that_the_supervisor_understands() {
        for pid in [2, 4_194_304, u32::MAX] {
            let mut line = [0; ANNOUNCEMENT];
            let length = announce(pid, &mut line);
            assert_eq!(line[length - 1], b'\n');
            assert_eq!(Attending::parse(&line[..length]), Some(Attending::Attending { pid }));
        }
    }
}
