//! HTTP requests of workflows. Connections are kept alive.
//!
//! Redirects are followed here and not by the library: the headers that an author wrote are for the host they were written for, and are
//! sent to no other.

use crate::workflow::effect::HttpRequest;
use crate::workflow::engine::Outcome;
use crate::workflow::fault::Fault;
use crate::workflow::model::HttpOutput;
use ct_codecs::{Base64, Encoder};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Map, Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use stigmer_protocol::report::chain;
use url::Url;

/// Largest response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Largest number of redirects that are followed.
const MAX_REDIRECTS: u32 = 10;

/// Longest time in which a connection is established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections are closed after this time: many servers close theirs after five seconds, and a request must not meet that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Largest number of idle connections to one host.
const MAX_IDLE_PER_HOST: usize = 32;

/// Headers of a request that are never shown.
const PRIVATE: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// Client for the requests of workflows.
pub(super) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    /// Trusts the certificates that the system trusts.
    pub(super) fn new() -> io::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        // A certificate of the system that cannot be read is not trusted, and no reason to trust none.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and returns the requested part of the response. It may take `limit`, unless the task has a deadline of its own.
    pub(super) async fn send(&self, request: &HttpRequest, limit: Duration, has_deadline: bool) -> Outcome {
        let attempt = self.attempt(request);
        let result = if has_deadline {
            attempt.await
        } else {
            tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
                let words = format!("no response within {} s", limit.as_secs());
                Err(Fault::communication(504, "No Response", words))
            })
        };
        match result {
            Ok(value) => Outcome::Done(value),
            Err(fault) => Outcome::Failed(fault),
        }
    }

    async fn attempt(&self, request: &HttpRequest) -> Result<Value, Fault> {
        let mut current = request.clone();
        let mut followed = 0;
        loop {
            let (response, uri) = self.exchange(&current).await?;
            let status = response.status();
            let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
            if request.redirect
                && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
                && let Some(place) = place
            {
                followed += 1;
                if followed > MAX_REDIRECTS {
                    let words = format!("more than {MAX_REDIRECTS} redirects");
                    return Err(Fault::communication(508, "Too Many Redirects", words));
                }
                current = redirected(&current, &uri, place, status.as_u16())?;
                continue;
            }
            let is_good = status.is_success() || request.redirect && status.is_redirection();
            let (parts, body) = response.into_parts();
            let bytes = read(body).await?;
            if !is_good {
                let said = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
                let words = format!("{} {uri} answers {status}: {}", current.method, said.trim());
                let title = status.canonical_reason().unwrap_or("Refused");
                return Err(Fault::communication(u64::from(status.as_u16()), title, words));
            }
            return given(request, &uri, status.as_u16(), &parts.headers, &bytes);
        }
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<(Response<Incoming>, Uri), Fault> {
        let uri: Uri =
            request.uri.parse().map_err(|error| Fault::validation(format!("invalid endpoint: {error}")))?;
        let outgoing = outgoing(request, &uri)?;
        match self.0.request(outgoing).await {
            Ok(response) => Ok((response, uri)),
            Err(error) => {
                let words = format!("{} {}: {}", request.method, host(&uri), chain(&error));
                Err(Fault::communication(503, "Not Reached", words))
            }
        }
    }
}

/// The request as it is sent.
fn outgoing(request: &HttpRequest, uri: &Uri) -> Result<Request<Full<Bytes>>, Fault> {
    let mut builder = Request::builder().method(request.method.as_str()).uri(uri.clone());
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    let body = request.body.clone().map(Full::from).unwrap_or_default();
    let mut outgoing = builder
        .body(body)
        .map_err(|error| Fault::validation(format!("invalid header of the request: {error}")))?;
    let headers = outgoing.headers_mut();
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    let agent = HeaderValue::from_static(concat!("stigmer/", env!("CARGO_PKG_VERSION")));
    headers.entry(header::USER_AGENT).or_insert(agent);
    Ok(outgoing)
}

/// The part of a URL that holds no secret.
fn host(uri: &Uri) -> String {
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())
}

/// The request that follows a redirect. Its URL is resolved against that of the response (RFC 9110, section 10.2.2).
fn redirected(request: &HttpRequest, from: &Uri, place: &str, status: u16) -> Result<HttpRequest, Fault> {
    let wrong = |words: &str| Fault::communication(502, "Bad Redirect", words);
    let invalid = |error| wrong(&format!("the redirect leads to an invalid URL: {error}"));
    let from = Url::parse(&from.to_string()).map_err(invalid)?;
    let mut to = from.join(place).map_err(invalid)?;
    match to.scheme() {
        "https" => {}
        "http" if from.scheme() == "http" => {}
        "http" => return Err(wrong("the redirect leads from https to http")),
        _ => return Err(wrong("the redirect leads to a scheme other than HTTP")),
    }
    to.set_fragment(None);
    let is_other_host = from.origin() != to.origin();
    let mut next = request.clone();
    next.uri = to.into();
    // As all clients do: only 307 and 308 keep method and body.
    if status == 303 && next.method != "HEAD" || matches!(status, 301 | 302) && next.method == "POST" {
        "GET".clone_into(&mut next.method);
        next.body = None;
        next.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
    if is_other_host {
        next.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.starts_with("content-") || name == "accept"
        });
    }
    Ok(next)
}

async fn read(body: Incoming) -> Result<Bytes, Fault> {
    match Limited::new(body, MAX_RESPONSE_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let words = format!("the response has more than {MAX_RESPONSE_BYTES} bytes");
            Err(Fault::communication(502, "Too Long", words))
        }
        Err(error) => {
            let words = format!("the response ended early: {}", chain(&*error));
            Err(Fault::communication(502, "Broken Off", words))
        }
    }
}

fn given(
    request: &HttpRequest,
    uri: &Uri,
    status: u16,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Value, Fault> {
    if request.output == HttpOutput::Raw {
        return base64(bytes);
    }
    let content = content(headers, bytes)?;
    if request.output == HttpOutput::Content {
        return Ok(content);
    }
    let asked = request.headers.iter().map(|(name, value)| {
        let is_private = PRIVATE.iter().any(|known| known.as_str().eq_ignore_ascii_case(name));
        (name.to_ascii_lowercase(), if is_private { json!("[redacted]") } else { json!(value) })
    });
    Ok(json!({
        "request": {
            "method": request.method.to_ascii_lowercase(),
            "uri": uri.to_string(),
            "headers": asked.collect::<Map<_, _>>(),
        },
        "statusCode": status,
        "headers": shown(headers),
        "content": content,
    }))
}

fn shown(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        map.insert(name.to_string(), values.collect::<Vec<_>>().join(", ").into());
    }
    Value::Object(map)
}

/// Content of a response: JSON as its value, text as text, nothing as null, everything else in base64.
fn content(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Fault> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" || kind.ends_with("+json") {
        return serde_json::from_slice(bytes).map_err(|error| {
            Fault::communication(
                502,
                "Bad Content",
                format!("the response is declared as JSON and is not: {error}"),
            )
        });
    }
    let is_text = kind.is_empty()
        || kind.starts_with("text/")
        || ["application/xml", "application/javascript", "application/x-www-form-urlencoded"]
            .contains(&kind.as_str())
        || kind.ends_with("+xml");
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text => Ok(text.into()),
        _ => base64(bytes),
    }
}

fn base64(bytes: &[u8]) -> Result<Value, Fault> {
    let text = Base64::encode_to_string(bytes);
    text.map(Value::from).map_err(|error| Fault::runtime(format!("cannot encode the response: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::model::HttpOutput;

    fn request() -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            uri: "https://one.example/a/b?c=d".to_owned(),
            headers: vec![("authorization".to_owned(), "Bearer x".to_owned())],
            body: None,
            output: HttpOutput::Content,
            redirect: true,
        }
    }

    fn follow(place: &str) -> Result<HttpRequest, Fault> {
        let request = request();
        redirected(&request, &request.uri.parse().expect("a URL"), place, 302)
    }

    #[test]
    fn redirects_are_resolved_against_the_url_they_come_from() {
        for (place, uri) in [
            ("../x", "https://one.example/x"),
            ("?q=1", "https://one.example/a/b?q=1"),
            ("x y", "https://one.example/a/x%20y"),
            ("/r?s#t", "https://one.example/r?s"),
            ("//two.example:8443/", "https://two.example:8443/"),
            ("HTTPS://Two.Example", "https://two.example/"),
            ("https://One.Example:443/p", "https://one.example/p"),
        ] {
            let next = follow(place).unwrap_or_else(|fault| panic!("{place}: {fault:?}"));
            assert_eq!(next.uri, uri, "{place}");
            assert_eq!(next.headers.is_empty(), !uri.starts_with("https://one.example/"), "{place}");
        }
    }

    #[test]
    fn redirects_to_other_schemes_and_out_of_tls_are_refused() {
        for place in ["http://one.example/", "ftp://one.example/", "file:///etc/passwd", "https://"] {
            assert!(follow(place).is_err(), "{place}");
        }
    }
}
