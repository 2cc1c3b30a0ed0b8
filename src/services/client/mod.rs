//! The server's interface from the other side: what commands ask, and how they follow an execution.
//!
//! Blocking, because a command asks one thing at a time. The caller says where the server listens ([`Locate`]), each time it is
//! looked for: after a restart it may listen elsewhere.

mod follow;

pub use follow::{Follow, Told};

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::time::{Duration, Instant};
use stigmer_protocol::token::Token;
use ureq::http::{Method, Request, StatusCode};
use ureq::{Agent, Body};

/// How long the server may take to answer: it waits for the disk at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long something on this machine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long nothing may come on a connection that is kept alive every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// How long a platform that is restarted may be away.
const RESTART: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile.
const GLANCE: Duration = Duration::from_millis(100);

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nothing runs that could be asked.
    #[error("stigmer is not running")]
    Down,
    /// The supervisor lives and does not answer.
    #[error("the supervisor (process {pid}) does not answer")]
    Hung {
        /// Its process id.
        pid: u32,
    },
    /// The supervisor cannot be asked.
    #[error("the supervisor cannot be asked")]
    Barred {
        /// Its process id, if that can be known.
        pid: Option<u32>,
        /// Why.
        source: io::Error,
    },
    /// It is not ready.
    #[error("stigmer-server is not ready")]
    NotReady,
    /// It was asked, and says no.
    #[error("{message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// What it says.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It cannot be reached, or broke off.
    #[error("stigmer-server at {url} does not answer")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What happened.
        source: Box<ureq::Error>,
    },
    /// It answers something else.
    #[error("what stigmer-server answers is not understood")]
    Strange(#[source] serde_json::Error),
    /// The token cannot be read.
    #[error("the token of this installation cannot be read")]
    Token(#[source] io::Error),
}

/// Finds the running server.
pub trait Locate: std::fmt::Debug + Send {
    /// Returns the base URL of the server.
    ///
    /// # Errors
    /// The server is not running, not ready, or its supervisor cannot be asked.
    fn url(&self) -> Result<String, ApiError>;

    /// Reads the token that the server accepts.
    ///
    /// # Errors
    /// [`ApiError::Token`].
    fn token(&self) -> Result<Token, ApiError>;

    /// Whether the server was stopped by somebody who does not start it again.
    fn was_stopped(&self) -> bool;
}

/// A client of the running server.
#[derive(Debug)]
pub struct Api {
    locator: Box<dyn Locate>,
    url: String,
    token: Token,
    agent: Agent,
}

impl Api {
    /// Creates a client of the server that `locator` finds.
    ///
    /// # Errors
    /// The server is not running, or its supervisor cannot be asked.
    pub fn new(locator: Box<dyn Locate>) -> Result<Self, ApiError> {
        let url = locator.url()?;
        let token = locator.token()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // What is on this machine is not asked for through somebody else.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        Ok(Self { locator, url, token, agent: agent.into() })
    }

    /// Asks, and reads the answer. Asked again, it has to mean the same: a server that is restarted meanwhile is waited for, and asked
    /// again.
    ///
    /// # Errors
    /// It says no, or there is no server.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let mut again = true;
        loop {
            match self.send(method, path, body, false).and_then(|response| self.read(response)) {
                Err(ApiError::Unreachable { .. }) if again => {
                    again = false;
                    self.find_again()?;
                }
                other => return other,
            }
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// It says no, or there is no server.
    pub fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ApiError> {
        self.call(&Method::GET, path, None)
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        streams: bool,
    ) -> Result<ureq::http::Response<Body>, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token.reveal()))
            .header("Accept", if streams { "text/event-stream" } else { "application/json" });
        let request = request
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|error| self.unreachable(error.into()))?;
        self.agent.run(request).map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, source: ureq::Error) -> ApiError {
        ApiError::Unreachable { url: self.url.clone(), source: Box::new(source) }
    }

    fn read<T: DeserializeOwned>(&self, mut response: ureq::http::Response<Body>) -> Result<T, ApiError> {
        let status = response.status();
        // A page of executions with their inputs and outputs may be long.
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
        let body = body.map_err(|error| self.unreachable(error))?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        let body = if body.is_empty() { b"null".as_slice() } else { &body };
        serde_json::from_slice(body).map_err(ApiError::Strange)
    }

    /// Looks for the server once more, and waits for one that is being restarted.
    fn find_again(&mut self) -> Result<(), ApiError> {
        let deadline = Instant::now() + RESTART;
        loop {
            match self.locator.url() {
                Ok(url) => {
                    self.url = url;
                    // What the supervisor has just started may not listen yet.
                    if self.agent.get(format!("{}/healthz", self.url)).call().is_ok() {
                        return Ok(());
                    }
                }
                Err(ApiError::Down) if self.locator.was_stopped() => return Err(ApiError::Down),
                Err(error @ ApiError::Barred { .. }) => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(ApiError::NotReady);
            }
            std::thread::sleep(GLANCE);
        }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match said["error"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("stigmer-server answers {status}: {}", String::from_utf8_lossy(body).trim()),
    };
    let hint = said["hint"].as_str().map(str::to_owned);
    ApiError::Refused { status: status.as_u16(), message, hint }
}
