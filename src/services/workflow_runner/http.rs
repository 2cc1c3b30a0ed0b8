//! Requests to the world.
//!
//! Redirects are followed here and not by the library: what the author of a workflow put into headers is for the host it was
//! written for, and goes to no other.

use crate::workflow::effect::HttpRequest;
use crate::workflow::engine::Outcome;
use crate::workflow::fault::Fault;
use crate::workflow::model::HttpOutput;
use ct_codecs::{Base64, Encoder};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Request, Response, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

/// The longest answer, in bytes.
const MOST: u64 = 1024 * 1024;

/// So many redirects are followed.
const REDIRECTS: u32 = 10;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Headers that are for the first host only, whatever they hold.
const PRIVATE: [header::HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// Whom we trust: whom the system trusts.
pub(super) fn tls() -> TlsConfig {
    // A certificate of the system that cannot be read is one less to trust, and no reason to give up.
    let system = rustls_native_certs::load_native_certs().certs;
    let all = system.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(all.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// Why there is no answer that can be used.
enum Trouble {
    Fault(Fault),
    Late,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Sends a request, and gives what is asked for of the answer. It may take so long; whether that is the deadline of a task, says
/// `is_deadline`.
pub(super) fn send(request: &HttpRequest, tls: TlsConfig, limit: Duration, is_deadline: bool) -> Outcome {
    match attempt(request, tls, Instant::now() + limit) {
        Ok(value) => Outcome::Done(value),
        Err(Trouble::Fault(fault)) => Outcome::Failed(fault),
        Err(Trouble::Late) if is_deadline => Outcome::TimedOut,
        Err(Trouble::Late) => {
            let words = format!("there was no answer within {} s", limit.as_secs());
            Outcome::Failed(Fault::communication(504, "No Answer", words))
        }
    }
}

fn attempt(request: &HttpRequest, tls: TlsConfig, deadline: Instant) -> Result<Value, Trouble> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(tls)
        .user_agent(format!("stigmer/{}", crate::VERSION))
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .build()
        .into();
    let mut current = request.clone();
    let mut followed = 0;
    loop {
        let (mut response, uri) = ask(&agent, &current, deadline)?;
        let status = response.status();
        let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
        if request.redirect
            && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && let Some(place) = place
        {
            followed += 1;
            if followed > REDIRECTS {
                let words = format!("more than {REDIRECTS} redirects");
                return Err(Fault::communication(508, "Too Many Redirects", words).into());
            }
            current = redirected(&current, &uri, place, status.as_u16())?;
            continue;
        }
        let is_good = status.is_success() || request.redirect && status.is_redirection();
        let bytes = read(&mut response, deadline)?;
        if !is_good {
            let said = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
            let words = format!("{} {uri} answers {status}: {}", current.method, said.trim());
            let title = status.canonical_reason().unwrap_or("Refused");
            return Err(Fault::communication(u64::from(status.as_u16()), title, words).into());
        }
        return given(request, &uri, &response, &bytes).map_err(Trouble::Fault);
    }
}

fn ask(agent: &Agent, request: &HttpRequest, deadline: Instant) -> Result<(Response<Body>, Uri), Trouble> {
    let uri: Uri = request
        .uri
        .parse()
        .map_err(|error| Fault::validation(format!("the endpoint is no address: {error}")))?;
    let mut builder = Request::builder().method(request.method.as_str()).uri(uri.clone());
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    let body = request
        .body
        .as_ref()
        .map_or_else(SendBody::none, |body| SendBody::from_owned_reader(std::io::Cursor::new(body.clone())));
    if let Some(body) = &request.body {
        builder = builder.header(header::CONTENT_LENGTH, body.len());
    }
    let built = builder
        .body(body)
        .map_err(|error| Fault::validation(format!("a header of the request means nothing: {error}")))?;
    let left = left(deadline)?;
    let built = agent.configure_request(built).timeout_global(Some(left)).build();
    match agent.run(built) {
        Ok(response) => Ok((response, uri)),
        Err(ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve))
            if Instant::now() < deadline =>
        {
            let words = format!("{} cannot be reached within {} s", host(&uri), CONNECT.as_secs());
            Err(Fault::communication(503, "Not Reached", words).into())
        }
        Err(ureq::Error::Timeout(_)) => Err(Trouble::Late),
        Err(error) => {
            let words = format!("{} {}: {error}", request.method, host(&uri));
            Err(Fault::communication(503, "Not Reached", words).into())
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, Trouble> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Trouble::Late) } else { Ok(left) }
}

/// An address without what may be secret in it.
fn host(uri: &Uri) -> String {
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())
}

/// The request that a redirect asks for.
fn redirected(request: &HttpRequest, from: &Uri, place: &str, status: u16) -> Result<HttpRequest, Fault> {
    let wrong = |words: &str| Fault::communication(502, "Bad Redirect", words);
    let to = if place.starts_with("http://") || place.starts_with("https://") {
        place.to_owned()
    } else if let Some(rest) = place.strip_prefix("//") {
        format!("{}://{rest}", from.scheme_str().unwrap_or("https"))
    } else if place.starts_with('/') {
        format!("{}{place}", host(from))
    } else if place.contains("://") {
        return Err(wrong("it leads to something that is not HTTP"));
    } else {
        let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{}{directory}/{place}", host(from))
    };
    let uri: Uri = to.parse().map_err(|_| wrong("it leads to no address"))?;
    if from.scheme_str() == Some("https") && uri.scheme_str() != Some("https") {
        return Err(wrong("it leads from a private connection to one that is not"));
    }
    let mut next = request.clone();
    next.uri = to;
    // As every client does it: only 307 and 308 ask for the same once more.
    if status == 303 && next.method != "HEAD" || matches!(status, 301 | 302) && next.method == "POST" {
        "GET".clone_into(&mut next.method);
        next.body = None;
        next.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
    if host(from) != host(&uri) {
        next.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.starts_with("content-") || name == "accept"
        });
    }
    Ok(next)
}

fn read(response: &mut Response<Body>, deadline: Instant) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let reader = response.body_mut().as_reader();
    match reader.take(MOST + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > MOST => {
            let words = format!("the answer has more than {MOST} bytes");
            Err(Fault::communication(502, "Too Long", words).into())
        }
        Ok(_) => Ok(bytes),
        Err(_) if Instant::now() >= deadline => Err(Trouble::Late),
        Err(error) => {
            Err(Fault::communication(502, "Broken Off", format!("the answer broke off: {error}")).into())
        }
    }
}

fn given(request: &HttpRequest, uri: &Uri, response: &Response<Body>, bytes: &[u8]) -> Result<Value, Fault> {
    if request.output == HttpOutput::Raw {
        return base64(bytes);
    }
    let content = content(response.headers(), bytes)?;
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
        "statusCode": response.status().as_u16(),
        "headers": shown(response.headers()),
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

/// JSON as the value it is, text as text, nothing as null, everything else in base64.
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
                format!("the answer says that it is JSON and is none: {error}"),
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
    text.map(Value::from).map_err(|error| Fault::runtime(format!("the answer cannot be kept: {error}")))
}
