//! HTTP client to the server, from a worker's side. Connections are kept alive.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::time::Duration;
use stigmer_protocol::api::Problem;
use stigmer_protocol::component::ComponentConfig;

/// Longest time that the server, which is on this machine, takes for a request without work for the disk.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time that the server takes for a request that it writes down.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections to the server are closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Answer of the server.
#[derive(Debug)]
pub(super) enum Answer<T> {
    /// The request was accepted.
    Accepted(T),
    /// The server does not know the worker or the object of the request (404).
    Unknown(String),
    /// The lease has expired (410).
    Gone,
    /// The request is refused for good: status and reason.
    Refused(u16, String),
    /// The server did not answer, or cannot serve requests now.
    Unavailable,
}

/// Client to the server.
#[derive(Debug)]
pub(super) struct Server {
    client: Client<HttpConnector, Full<Bytes>>,
    pub(super) url: String,
    authorization: HeaderValue,
}

impl Server {
    pub(super) fn new(config: &ComponentConfig) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(REQUEST_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        let token = format!("Bearer {}", config.token.reveal());
        let mut authorization = HeaderValue::from_str(&token)
            .map_err(|_| io::Error::other("the token cannot be sent in a header"))?;
        authorization.set_sensitive(true);
        Ok(Self { client, url: config.server_url.trim_end_matches('/').to_owned(), authorization })
    }

    /// Sends `body` as JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Answer<T> {
        let Ok(body) = serde_json::to_vec(body) else { return Answer::Unavailable };
        self.send(Method::POST, path, body, timeout).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Answer<T> {
        self.send(Method::GET, path, Vec::new(), timeout).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer<Value> {
        self.send(Method::DELETE, path, Vec::new(), REQUEST_TIMEOUT).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Answer<T> {
        let exchange = tokio::time::timeout(timeout, self.exchange(method, path, body)).await;
        match exchange.ok().flatten() {
            Some((status, body)) => judged(status, &body),
            None => Answer::Unavailable,
        }
    }

    /// Sends a request and reads all of the response. `None` if that fails.
    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Option<(u16, Bytes)> {
        let uri: Uri = format!("{}{path}", self.url).parse().ok()?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .ok()?;
        let response = self.client.request(request).await.ok()?;
        let status = response.status().as_u16();
        // The server is trusted, and a journal may be long.
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, body))
    }
}

fn judged<T: DeserializeOwned>(status: u16, body: &[u8]) -> Answer<T> {
    if (200..300).contains(&status) {
        let body = if body.is_empty() { b"null".as_slice() } else { body };
        return serde_json::from_slice(body).map_or(Answer::Unavailable, Answer::Accepted);
    }
    let reason = serde_json::from_slice::<Problem>(body)
        .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |problem| problem.detail);
    match status {
        404 => Answer::Unknown(reason),
        410 => Answer::Gone,
        400..=499 => Answer::Refused(status, reason),
        _ => Answer::Unavailable,
    }
}
