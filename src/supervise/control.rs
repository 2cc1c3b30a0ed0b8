//! The control socket: how a command asks a running supervisor.
//!
//! TCP on the loopback address, because it is the same on every system and knows no limit on the length of a home's
//! path; the token of the installation takes the place of a file's permissions. One JSON line asks, one or more answer.

use super::StartFailure;
use super::lifecycle::Phase;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stigmer_protocol::line::MAX_LINE_BYTES;
use stigmer_protocol::token::Token;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// A command to the supervisor, with the right to give it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The token of the installation.
    pub token: Token,
    /// What is asked.
    pub command: Command,
    /// Who asks: the command a person gave, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// What runs.
    Status,
    /// Answer when the start has come to its end, whatever that is; at once if none is under way.
    Await,
    /// End everything, and say whom it waits for.
    Stop,
    /// End everything at once, without asking anybody to finish.
    Kill,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Reply {
    /// What runs.
    Status(Box<Status>),
    /// It is stopping, and waits for these.
    Stopping {
        /// Names of components.
        waiting_for: Vec<String>,
    },
    /// All of them have ended.
    Stopped,
    /// The start that was awaited has failed, and nothing it started is left.
    Failed(Box<StartFailure>),
    /// The request is refused.
    Error {
        /// Why.
        error: String,
    },
}

/// Everything there is to know about what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Id of this run.
    pub instance: String,
    /// The supervisor's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The executable it was started from.
    pub executable: String,
    /// That executable's size, inode and time of change when it was started.
    pub executable_state: Option<String>,
    /// What that executable's footer says of its code and of what it carries.
    #[serde(default)]
    pub build: Option<String>,
    /// The home directory.
    pub home: String,
    /// When it started.
    pub since: String,
    /// Where the server listens, once it does.
    pub url: Option<String>,
    /// The port that was asked for.
    pub port: u16,
    /// The local build of the first bundled component, if one was given. [`ComponentStatus::local_binary`] has it for each.
    pub local_binary: Option<String>,
    /// Name under which that build was published, if it was.
    #[serde(default)]
    pub runner: Option<String>,
    /// Digest of the payload of the first bundled component, if it came from a bundle.
    pub payload: Option<String>,
    /// Whether it is stopping.
    pub stopping: bool,
    /// The memory of the supervisor itself.
    pub memory_bytes: Option<u64>,
    /// The components, in the order they start in.
    pub components: Vec<ComponentStatus>,
}

impl Status {
    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        !self.stopping && self.components.iter().all(|c| c.phase == Phase::Ready)
    }

    /// Returns the local builds in use, by component. A supervisor of an older version knows one only, that of `default`.
    pub fn local_binaries(&self, default: Option<&str>) -> BTreeMap<String, PathBuf> {
        let mut found: BTreeMap<String, PathBuf> = self
            .components
            .iter()
            .filter_map(|one| Some((one.name.clone(), one.local_binary.clone()?.into())))
            .collect();
        if let (true, Some(name), Some(path)) = (found.is_empty(), default, &self.local_binary) {
            found.insert(name.to_owned(), path.into());
        }
        found
    }
}

/// What there is to know about a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// The process that attends to it, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attendant_pid: Option<u32>,
    /// Since when it is in this phase.
    pub since: String,
    /// Since when it is ready, if it is.
    #[serde(default)]
    pub ready_since: Option<String>,
    /// Why it is not ready, if it is not.
    #[serde(default)]
    pub not_ready: Option<String>,
    /// Whether it ended too often lately, and has not been ready for a minute since.
    #[serde(default)]
    pub crash_looping: bool,
    /// When it is started again, if it waits for that.
    #[serde(default)]
    pub next_start: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// How its last process ended, if one did.
    pub last_exit: Option<LastExit>,
    /// Its version, once it said so.
    pub version: Option<String>,
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    /// The port of that address.
    #[serde(default)]
    pub port: Option<u16>,
    /// The digest of its payload, if it came from the bundle.
    #[serde(default)]
    pub payload: Option<String>,
    /// Path of the local build in place of the bundled component, if one was given.
    #[serde(default)]
    pub local_binary: Option<String>,
    /// Name under which that build was published, if it was.
    #[serde(default)]
    pub published_as: Option<String>,
    /// The memory it occupies.
    pub memory_bytes: Option<u64>,
    /// Its log file.
    pub log: String,
}

/// The end of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When.
    pub time: String,
    /// The same for people, with what the component said about it.
    pub reason: String,
}

/// A command that arrived, and where its answers go. The connection lasts until this is dropped.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    /// Who asks.
    pub by: Option<String>,
    /// Where the answers go.
    pub replies: mpsc::Sender<Reply>,
}

/// Time limit for a client to send its request, and to take an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of clients that are served at a time; others wait.
pub(super) const MAX_CLIENTS: usize = 32;

/// Accepts clients for ever, and passes on what they rightly ask.
///
/// Each conversation occupies one of `places`: when all are free, nobody is being spoken to.
pub async fn serve(listener: TcpListener, token: Token, asked: mpsc::Sender<Asked>, places: Arc<Semaphore>) {
    let token = Arc::new(token);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (token, asked) = (Arc::clone(&token), asked.clone());
                tokio::spawn(async move {
                    let _place = place;
                    // A client that goes away is its own loss.
                    let _ = converse(stream, &token, &asked).await;
                });
            }
            // Out of descriptors, most likely. Asking again at once would only burn the processor.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(mut stream: TcpStream, token: &Token, asked: &mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    let mut limited = BufReader::new(read.take(MAX_LINE_BYTES));
    let request = match tokio::time::timeout(CLIENT_TIMEOUT, limited.read_until(b'\n', &mut line)).await {
        Err(_) => return Ok(()),
        Ok(outcome) => {
            outcome?;
            serde_json::from_slice::<Request>(&line)
        }
    };
    let refuse = |error: &str| Reply::Error { error: error.to_owned() };
    let (command, by) = match request {
        Err(_) => return send(&mut write, &refuse("the request is not understood")).await,
        Ok(request) if !token.matches(request.token.reveal()) => {
            return send(&mut write, &refuse("the token is wrong")).await;
        }
        Ok(request) => (request.command, request.by),
    };
    let (replies, mut answers) = mpsc::channel(16);
    if asked.send(Asked { command, by, replies }).await.is_err() {
        return send(&mut write, &refuse("the supervisor is ending")).await;
    }
    while let Some(reply) = answers.recv().await {
        send(&mut write, &reply).await?;
    }
    write.shutdown().await
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    tokio::time::timeout(CLIENT_TIMEOUT, to.write_all(&line))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves one conversation, and gives what it answered to `request`.
    async fn answer(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (sender, mut asked) = mpsc::channel::<Asked>(1);
        let server = tokio::spawn(serve(
            listener,
            Token::from("secret"),
            sender,
            Arc::new(Semaphore::new(MAX_CLIENTS)),
        ));
        let answerer = tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                let _ = question.replies.send(Reply::Stopped).await;
            }
        });
        let mut client = TcpStream::connect(address).await.expect("connect");
        // The server may hang up in the midst of a line that is too long.
        let _ = client.write_all(request).await;
        let mut text = String::new();
        let _ = client.read_to_string(&mut text).await;
        server.abort();
        answerer.abort();
        text
    }

    #[tokio::test]
    async fn only_the_token_opens() {
        let good = br#"{"token":"secret","command":"stop"}"#;
        assert_eq!(answer(&[good.as_slice(), b"\n"].concat()).await, "{\"event\":\"stopped\"}\n");
        let bad = answer(b"{\"token\":\"guess\",\"command\":\"stop\"}\n").await;
        assert!(bad.contains("token is wrong"), "{bad}");
    }

    #[tokio::test]
    async fn rubbish_is_refused() {
        for request in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            b"{\"token\":\"secret\",\"command\":\"reboot\"}\n",
            b"\xff\xff\n",
            b"{\"token\":\"secret\",\"command\":\"stop\",\"more\":1}\n",
        ] {
            let text = answer(request).await;
            assert!(text.contains("not understood"), "{text}");
        }
    }

    #[tokio::test]
    async fn an_endless_line_ends_the_conversation() {
        let text = answer(&vec![b'x'; 1_000_000]).await;
        assert!(!text.contains("stopped"), "{text}");
    }
}
