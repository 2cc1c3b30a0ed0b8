//! What every role shares: its config from whoever started it, its one line of handshake, and when to end.

use super::ServiceError;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;
use stigmer_protocol::component::{ComponentConfig, Handshake};
use stigmer_protocol::line::write_line;
use tokio::sync::oneshot;

/// The code of a role: runs until it is asked to end.
pub type RoleFn = fn(&ComponentConfig, StartedBy) -> Result<(), ServiceError>;

/// Who started a role, which decides what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartedBy {
    /// A supervisor: the end of standard input, or a signal, ends the role.
    Supervisor,
    /// A person: only a signal ends the role.
    Person,
}

/// Reads the config a supervisor sends, and makes the directory it names.
pub fn read_config(name: &str) -> Result<ComponentConfig, ServiceError> {
    let config = ComponentConfig::read(name, &mut io::stdin().lock())?;
    crate::platform::create_private_dir(std::path::Path::new(&config.work_dir))?;
    Ok(config)
}

/// Says that the role can do its work now.
pub fn say_ready(address: Option<SocketAddr>) -> io::Result<()> {
    let handshake = Handshake::Ready { version: crate::VERSION.to_owned(), pid: std::process::id(), address };
    write_line(io::stdout().lock(), &handshake)
}

/// Says that it cannot.
pub fn say_failed(error: &ServiceError) {
    let handshake = Handshake::Failed { reason: stigmer_protocol::report::chain(error), hint: error.hint() };
    // If nobody listens, the exit code still tells.
    let _ = write_line(io::stdout().lock(), &handshake);
}

/// How a role is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It finishes its work; the supervisor waits for that.
    Graceful,
    /// The supervisor is gone: the next one must not meet this process.
    Immediate,
}

impl Shutdown {
    /// Returns the time that work of at most `usual` may take.
    pub fn grace(self, usual: Duration) -> Duration {
        match self {
            Self::Graceful => usual,
            Self::Immediate => usual.min(Duration::from_millis(500)),
        }
    }
}

/// Waits until the role is asked to end.
pub async fn shutdown_requested(started_by: StartedBy) -> Shutdown {
    tokio::select! {
        // Where there are no signals, this is also how one is asked to end.
        () = end_of_input(started_by) => if cfg!(unix) { Shutdown::Immediate } else { Shutdown::Graceful },
        () = signal() => Shutdown::Graceful,
    }
}

/// Standard input cannot be waited for in the same way on every system, except by a thread that reads it.
async fn end_of_input(started_by: StartedBy) {
    if started_by == StartedBy::Person {
        return std::future::pending().await;
    }
    let (sender, receiver) = oneshot::channel();
    let reader =
        std::thread::Builder::new().name("lifeline".to_owned()).stack_size(64 * 1024).spawn(move || {
            let mut input = io::stdin().lock();
            let mut buffer = [0_u8; 256];
            loop {
                match input.read(&mut buffer) {
                    Ok(0) => break,
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                    // Nothing is said after the config; if something is, it means nothing.
                    _ => {}
                }
            }
            let _ = sender.send(());
        });
    if reader.is_ok() {
        let _ = receiver.await;
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    match kinds.map(signal) {
        [Ok(mut term), Ok(mut int), Ok(mut hup)] => {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = hup.recv() => {}
            }
        }
        // Without handlers the system's own way of ending a process stays in force.
        _ => std::future::pending().await,
    }
}

#[cfg(windows)]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
