//! The server from a worker's side.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use stigmer_protocol::api::Problem;
use stigmer_protocol::component::ComponentConfig;
use ureq::Agent;

/// The server is on this machine; if it takes longer, it is in trouble.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What the server made of a request.
#[derive(Debug)]
pub(super) enum Answer<T> {
    /// It was accepted.
    Accepted(T),
    /// It does not know this worker, or what was asked for.
    Unknown(String),
    /// The lease does not hold any more.
    Gone,
    /// It refuses; asking again would not change that.
    Refused(u16, String),
    /// It did not answer, or is in trouble.
    Silence,
}

/// Asks the server.
#[derive(Debug)]
pub(super) struct Server {
    agent: Agent,
    pub(super) url: String,
    authorization: String,
}

impl Server {
    pub(super) fn new(config: &ComponentConfig) -> Self {
        let agent = Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
        Self {
            agent,
            url: config.server_url.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {}", config.token.reveal()),
        }
    }

    /// Posts, and waits for an answer for so long.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Answer<T> {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("Authorization", &self.authorization)
            .config()
            .timeout_global(Some(patience))
            .build();
        judge(request.send_json(body))
    }

    /// Asks for something.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, patience: Duration) -> Answer<T> {
        let request = self
            .agent
            .get(format!("{}{path}", self.url))
            .header("Authorization", &self.authorization)
            .config()
            .timeout_global(Some(patience))
            .build();
        judge(request.call())
    }

    /// Deletes something, and does not wait for what that comes to.
    pub(super) fn delete(&self, path: &str) {
        let request = self
            .agent
            .delete(format!("{}{path}", self.url))
            .header("Authorization", &self.authorization)
            .config()
            .timeout_global(Some(PATIENCE))
            .build();
        let _ = request.call();
    }
}

fn judge<T: DeserializeOwned>(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer<T> {
    let Ok(mut response) = response else {
        return Answer::Silence;
    };
    let status = response.status();
    // A journal may be long.
    let Ok(body) = response.body_mut().with_config().limit(u64::MAX).read_to_vec() else {
        return Answer::Silence;
    };
    if status.is_success() {
        let body = if body.is_empty() { b"null".as_slice() } else { &body };
        return serde_json::from_slice(body).map_or(Answer::Silence, Answer::Accepted);
    }
    let words = serde_json::from_slice::<Problem>(&body)
        .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |problem| problem.detail);
    match status.as_u16() {
        404 => Answer::Unknown(words),
        410 => Answer::Gone,
        status @ 400..=499 => Answer::Refused(status, words),
        _ => Answer::Silence,
    }
}
