//! A typed client of the server's API: a method for each call.
//!
//! Blocking, because a command asks one thing at a time; connections stay open between requests. The caller says where the server
//! listens ([`Locate`]), each time it is looked for: after a restart it may listen elsewhere.

mod error;
mod executions;
mod follow;
mod resources;

pub use error::ApiError;
pub use executions::Executions;
pub use follow::{Follow, Update};
pub use resources::Resources;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use stigmer_protocol::api::Problem;
use stigmer_protocol::api::problem::PROBLEM_JSON;
use stigmer_protocol::token::Token;
use ureq::http::{Method, Request, Response, header};
use ureq::{Agent, Body};
use url::Url;

/// Time that the server may take to answer: it waits for the disk at most.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that the server, on this machine, may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time without a byte on a stream that is kept alive every 15 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(45);

/// Time that a restart of the server may take.
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two looks for a restarted server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

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
pub struct Client {
    locator: Box<dyn Locate>,
    url: String,
    token: Token,
    agent: Agent,
}

impl Client {
    /// Creates a client of the server that `locator` finds.
    ///
    /// # Errors
    /// The server is not running, or its supervisor cannot be asked.
    pub fn new(locator: Box<dyn Locate>) -> Result<Self, ApiError> {
        let url = locator.url()?;
        let token = locator.token()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A server on this machine is never asked through a proxy.
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build();
        Ok(Self { locator, url, token, agent: agent.into() })
    }

    /// Returns the calls on executions.
    pub fn executions(&mut self) -> Executions<'_> {
        Executions(self)
    }

    /// Returns the calls on resources.
    pub fn resources(&mut self) -> Resources<'_> {
        Resources(self)
    }

    /// Sends a request and reads the answer. After a lost connection it waits for a restarted server and repeats the request once, so
    /// the request has to be idempotent.
    fn call<T: DeserializeOwned>(&mut self, call: &Call<'_>) -> Result<T, ApiError> {
        match self.send(call, "application/json").and_then(|response| self.read(response)) {
            Err(ApiError::Unreachable { .. }) => {
                self.find_again()?;
                let response = self.send(call, "application/json")?;
                self.read(response)
            }
            other => other,
        }
    }

    fn send(&self, call: &Call<'_>, accept: &str) -> Result<Response<Body>, ApiError> {
        let url = call.url(&self.url).map_err(|error| self.unreachable(error))?;
        let request = Request::builder()
            .method(&call.method)
            .uri(url.as_str())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.reveal()))
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json");
        let request = request.body(call.body.clone()).map_err(|error| self.unreachable(error.into()))?;
        self.agent.run(request).map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, source: ureq::Error) -> ApiError {
        ApiError::Unreachable { url: self.url.clone(), source: Box::new(source) }
    }

    fn read<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, ApiError> {
        let status = response.status();
        let is_problem =
            response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
        // A page of executions with their inputs and outputs may be long.
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
        let body = body.map_err(|error| self.unreachable(error))?;
        if status.is_success() {
            let body = if body.is_empty() { b"null".as_slice() } else { &body };
            return serde_json::from_slice(body).map_err(ApiError::UnexpectedBody);
        }
        Err(match serde_json::from_slice::<Problem>(&body).ok().filter(|_| is_problem) {
            Some(problem) => ApiError::Problem(Box::new(problem)),
            None => ApiError::UnexpectedStatus {
                status: status.as_u16(),
                text: String::from_utf8_lossy(&body).trim().to_owned(),
            },
        })
    }

    /// Looks for the server once more, and waits for one that restarts.
    fn find_again(&mut self) -> Result<(), ApiError> {
        let deadline = Instant::now() + RESTART_TIMEOUT;
        loop {
            match self.locator.url() {
                Ok(url) => {
                    self.url = url;
                    // A server that has just been started may not listen yet.
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
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// A request: everything but the server's address.
#[derive(Debug, Clone)]
struct Call<'a> {
    method: Method,
    /// Segments of the path below `/v1`, not encoded.
    path: Vec<&'a str>,
    /// The query string, encoded.
    query: Option<String>,
    body: String,
}

impl<'a> Call<'a> {
    fn new(method: Method, path: &[&'a str]) -> Self {
        Self { method, path: path.to_vec(), query: None, body: String::new() }
    }

    fn query(mut self, query: &impl Serialize) -> Self {
        // Queries are flat structs of numbers and text, which have a query string.
        self.query = serde_urlencoded::to_string(query).ok().filter(|text| !text.is_empty());
        self
    }

    fn body(mut self, body: &impl Serialize) -> Result<Self, ApiError> {
        self.body = serde_json::to_string(body).map_err(ApiError::UnexpectedBody)?;
        Ok(self)
    }

    fn url(&self, base: &str) -> Result<Url, ureq::Error> {
        let mut url = Url::parse(base).map_err(|error| ureq::Error::BadUri(format!("{base}: {error}")))?;
        url.path_segments_mut()
            .map_err(|()| ureq::Error::BadUri(base.to_owned()))?
            .clear()
            .push("v1")
            .extend(&self.path);
        url.set_query(self.query.as_deref());
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stigmer_protocol::Phase;
    use stigmer_protocol::api::executions::ExecutionQuery;

    #[test]
    fn paths_and_queries_are_encoded() {
        let query = ExecutionQuery {
            phase: Some(Phase::InProgress),
            name: Some("a&b=c d".to_owned()),
            ..ExecutionQuery::default()
        };
        let call = Call::new(Method::GET, &["executions", "a/b ?#"]).query(&query);
        let url = call.url("http://127.0.0.1:7234/").unwrap();
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:7234/v1/executions/a%2Fb%20%3F%23?phase=IN_PROGRESS&name=a%26b%3Dc+d"
        );
        let all = Call::new(Method::GET, &["executions"]).query(&ExecutionQuery::default());
        assert_eq!(all.url("http://127.0.0.1:7234").unwrap().as_str(), "http://127.0.0.1:7234/v1/executions");
    }
}
