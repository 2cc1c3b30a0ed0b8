//! The asking side of the control socket. Blocking: a command asks one question and ends.

use super::control::{Command, Reply, Request, Status};
use super::identity::Identity;
use super::last_end::{LastEnd, Why};
use super::state::{ServerState, end_leftovers, half_written, last_sign_of_life};
use super::{StartFailure, SuperviseError, lock};
use crate::home::Home;
use crate::platform;
use std::io::{self, BufReader};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};
use stigmer_protocol::line::{read_line, write_line};
use stigmer_protocol::token::Token;

/// How long a supervisor may take to answer. It has nothing else to do.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a supervisor that stops may say nothing. It speaks every second; more than that is for a busy machine.
const STOP_SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// What is found when a home's supervisor is looked for.
#[derive(Debug)]
pub enum Found {
    /// It answered.
    Up(Box<Status>),
    /// There is none.
    Absent,
    /// There was one, which ended without tidying up.
    Crashed {
        /// What it said of itself.
        state: Box<ServerState>,
        /// When something was last logged.
        last_sign: Option<SystemTime>,
    },
    /// Its process lives and does not answer.
    Hung {
        /// Its process id.
        pid: u32,
    },
    /// We cannot ask it: its token cannot be read, or is not the one it knows; or the home itself cannot be read.
    Barred {
        /// Its process id. `None` if not even that can be read, nor whether it runs.
        pid: Option<u32>,
        /// Why.
        error: io::Error,
    },
}

/// Asks the supervisor of `home` what runs.
pub fn look(home: &Home) -> Found {
    let limit = Instant::now() + ANSWER_TIMEOUT;
    loop {
        match ServerState::find(home) {
            Ok(Some(state)) => return look_at(home, state),
            Ok(None) => {}
            Err(error) => return Found::Barred { pid: None, error },
        }
        // It writes its file right after it took its lock, and removes it right before it lets go.
        match lock::holder_of_server(home) {
            None => return Found::Absent,
            Some(pid) if Instant::now() >= limit => return Found::Hung { pid },
            Some(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Ends what a supervisor that was killed has left running, and removes its file. Whether there was something to end.
///
/// # Errors
/// Somebody is starting the platform right now.
pub fn end_remains(home: &Home) -> Result<bool, SuperviseError> {
    let _lock = lock::server(home, ANSWER_TIMEOUT)?;
    let ended = end_leftovers(home);
    if let Some(state) = ServerState::read(home) {
        let mut end = LastEnd::now(&state.instance, Why::Crashed);
        if let Some(time) = last_sign_of_life(home) {
            end.time = humantime::format_rfc3339_millis(time).to_string();
        }
        // A record that cannot be written is one line less in a later `status`.
        let _ = end.write(home);
    }
    ServerState::remove(home);
    Ok(!ended.is_empty())
}

/// Removes what a supervisor that was killed at its very beginning had half written, unless somebody is at work here.
pub fn tidy(home: &Home) {
    if !half_written(home).is_empty()
        && let Ok(_lock) = lock::server(home, Duration::ZERO)
    {
        ServerState::remove(home);
    }
}

/// Ends the supervisor described by `state`, which does not answer, and everything below it, on behalf of the command `by`; then
/// what earlier was left.
///
/// # Errors
/// It cannot be ended.
pub fn end_hung(home: &Home, state: &ServerState, by: &str) -> Result<(), SuperviseError> {
    let Identity { pid, started, .. } = state.identity;
    if state.identity.is_alive() && !platform::end_tree(pid, started, STOP_SILENCE_LIMIT).left.is_empty() {
        return Err(SuperviseError::Hung { pid });
    }
    end_remains(home)?;
    note_end(home, &state.instance, by);
    Ok(())
}

/// Ends process `pid`, the supervisor of `home` that did not leave word of itself, and everything below it, on
/// behalf of the command `by`.
///
/// # Errors
/// The system does not confirm that this process holds the supervisor's lock, or it cannot be ended.
pub fn end_nameless(home: &Home, pid: u32, by: &str) -> Result<(), SuperviseError> {
    // The id is from the lock's file, where anything can be written. Who it is comes first: an id that is somebody else's by the
    // time it is confirmed does not fit any more.
    let Some(identity) = Identity::of(pid).filter(|_| lock::server_is_held_by(home, pid)) else {
        return Err(SuperviseError::Unconfirmed { pid });
    };
    if !platform::end_tree(pid, identity.started, STOP_SILENCE_LIMIT).left.is_empty() {
        return Err(SuperviseError::Hung { pid });
    }
    end_remains(home)?;
    note_end(home, "", by);
    Ok(())
}

/// Leaves word that it was the command `by` that ended the supervisor, which could not say so itself.
fn note_end(home: &Home, instance: &str, by: &str) {
    // A record that cannot be written is one line less in a later `status`.
    let _ = LastEnd::now(instance, Why::Asked { by: Some(by.to_owned()) }).write(home);
}

fn look_at(home: &Home, state: ServerState) -> Found {
    let limit = Instant::now() + ANSWER_TIMEOUT;
    let mut answer = None;
    let outcome = ask(home, &state, Command::Status, None, ANSWER_TIMEOUT, |reply| {
        if let Reply::Status(status) = reply {
            answer = Some(status.clone());
        }
    });
    match (outcome, answer.filter(|status| status.instance == state.instance)) {
        (Ok(()), Some(status)) => Found::Up(status),
        (Err(error), _) if is_barred(&error) && state.identity.is_alive() => {
            Found::Barred { pid: Some(state.identity.pid), error }
        }
        // One that was killed refuses connections before its process is gone.
        _ if !state.identity.wait_for_end(limit.saturating_duration_since(Instant::now())) => {
            Found::Hung { pid: state.identity.pid }
        }
        _ => match ServerState::read(home) {
            // It ended in an orderly way while it was asked, and took its file along.
            None => Found::Absent,
            // Another one has taken its place meanwhile.
            Some(next) if next.instance != state.instance => look_at(home, next),
            Some(_) => Found::Crashed { state: Box::new(state), last_sign: last_sign_of_life(home) },
        },
    }
}

/// Whether [`ask`] failed for a reason that says nothing of the supervisor's health.
fn is_barred(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::TimedOut
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// What has become of a start that somebody else had begun.
#[derive(Debug)]
pub enum Awaited {
    /// It is over, and this runs.
    Runs(Box<Status>),
    /// It has failed, and nothing is left of it.
    Failed(Box<StartFailure>),
    /// It was stopped before it came to its end.
    Stopped,
}

/// Waits until the start that the supervisor described by `state` is busy with is over, at most for `limit`.
///
/// # Errors
/// The supervisor is not there, refuses, or falls silent.
pub fn await_start(home: &Home, state: &ServerState, limit: Duration) -> io::Result<Awaited> {
    let mut awaited = Awaited::Stopped;
    ask(home, state, Command::Await, None, limit, |reply| match reply {
        Reply::Status(status) => awaited = Awaited::Runs(status.clone()),
        Reply::Failed(failure) => awaited = Awaited::Failed(failure.clone()),
        _ => {}
    })?;
    // Of a supervisor on its way out, nothing is left only when it is gone itself.
    if !matches!(awaited, Awaited::Runs(_)) && !state.identity.wait_for_end(STOP_SILENCE_LIMIT) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(awaited)
}

/// How everything is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Everybody is asked, and has time to finish.
    Asked,
    /// At once.
    Now,
}

/// Tells the supervisor described by `state` to stop, on behalf of the command `by`; hears whom it waits for, and returns
/// when its process is gone.
///
/// # Errors
/// It is not there, refuses, or falls silent.
pub fn stop(
    home: &Home,
    state: &ServerState,
    by: &str,
    manner: Manner,
    mut waiting: impl FnMut(&[String]),
) -> io::Result<()> {
    let command = match manner {
        Manner::Asked => Command::Stop,
        Manner::Now => Command::Kill,
    };
    ask(home, state, command, Some(by), STOP_SILENCE_LIMIT, |reply| {
        if let Reply::Stopping { waiting_for } = reply {
            waiting(waiting_for);
        }
    })?;
    if state.identity.wait_for_end(STOP_SILENCE_LIMIT) { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// Sends one command, and hears every answer until the supervisor hangs up. Between two answers it may take `limit`.
fn ask(
    home: &Home,
    state: &ServerState,
    command: Command,
    by: Option<&str>,
    limit: Duration,
    mut hear: impl FnMut(&Reply),
) -> io::Result<()> {
    // The port may belong to a stranger by now, and a stranger must not be told the token.
    if !state.identity.is_alive() {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let token = Token::read(&home.run().join("token"))?;
    let stream = TcpStream::connect_timeout(&state.control, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    write_line(&stream, &Request { token, command, by: by.map(str::to_owned) })?;
    let mut answers = BufReader::new(stream);
    loop {
        let line = match read_line(&mut answers) {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            // On its way out the supervisor may be gone before the connection is closed in good order.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        match serde_json::from_str(&line)? {
            Reply::Error { error } => return Err(io::Error::other(error)),
            reply => hear(&reply),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A listener that answers no connection, and a supervisor that ends while its connection is being closed.
    #[test]
    fn supervisor_that_was_killed_is_not_taken_for_one_that_hangs() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path());
        fs_err::create_dir_all(home.run()).expect("made");
        Token::obtain(&home.run()).expect("a token");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("it runs");
        let state = ServerState {
            schema: super::super::state::STATE_SCHEMA,
            instance: "i".to_owned(),
            identity: Identity::of(child.id()).expect("it lives"),
            control: listener.local_addr().expect("an address"),
            version: "0".to_owned(),
            executable: "/x".to_owned(),
            since: stigmer_protocol::time::now(),
            children: Vec::new(),
        };
        state.write(&home).expect("written");
        let ending = std::thread::spawn(move || {
            // The connection is closed first, as the kernel does it, and the process ends after that.
            drop(listener.accept().expect("it is asked"));
            std::thread::yield_now();
            child.kill().and_then(|()| child.wait()).expect("it ends");
        });
        let found = look(&home);
        ending.join().expect("no panic");
        assert!(matches!(found, Found::Crashed { .. }), "{found:?}");
    }
}
