//! Fetching bytes over HTTP from hosts that are slow, cut connections, redirect and refuse.
//!
//! Nothing that arrives here is trusted: whoever asks says how many bytes there may be, and checks what they are. So this room
//! only has to be patient and frugal: a connection that breaks is taken up again where it broke, a host that asks for a
//! pause gets it, and no byte beyond the expected ones is read. Every request is made with the address of the source, never with
//! the one a redirect led to, because those expire.

use super::headers::{check_range, content_length, retry_after, strong_tag};
use super::proxy::ProxyError;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, ResponseExt};

/// How many times in a row a request may fail without a single byte of progress.
const PATIENCE: u32 = 5;
/// How many times a transfer may break in all, however much progress there is between.
const BREAKS: u32 = 64;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest pause a host may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The first pause of our own; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// Why bytes could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch `{url}`: {why}")]
pub struct FetchError {
    /// The address, as it was asked for.
    pub url: String,
    /// Why.
    pub why: Why,
}

/// What stood in the way.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// No answer: no such host, no route, a refused or broken connection.
    #[error("{0}")]
    Network(String),
    /// The connection is not private: the certificate of the host is not accepted.
    #[error("its certificate is not accepted: {0}")]
    Certificate(String),
    /// The proxy answers, and does not lead there.
    #[error("the proxy `{proxy}` {why}")]
    Proxy {
        /// Its address, without name and password.
        proxy: String,
        /// What it said.
        why: String,
    },
    /// The host has no such file.
    #[error("the server has no such file (status 404)")]
    Missing,
    /// The host says no.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// The host asks for a pause that is too long.
    #[error("the server asks to come back in {} s", .0.as_secs())]
    Later(Duration),
    /// A range was asked for, and the host gives whole files only.
    #[error("the server does not give parts of files")]
    NoRanges,
    /// The file at the host has another size.
    #[error("it has {found} bytes there; {expected} were expected")]
    Size {
        /// As the host says.
        found: u64,
        /// As was expected.
        expected: u64,
    },
    /// It is longer than it may be.
    #[error("it is longer than {0} bytes, and was not read any further")]
    TooLong(u64),
    /// What was fetched could not be used; the error says why.
    #[error(transparent)]
    Unusable(io::Error),
}

/// Where the bytes of a transfer go.
pub trait Receiver {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are of no use; the transfer ends.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Forgets all it took: the transfer begins again from its start.
    fn restart(&mut self);
}

/// How requests are made.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Value of the `User-Agent` header.
    pub user_agent: String,
    /// Certificates to trust besides those of the system: a file in PEM form.
    pub ca_file: Option<PathBuf>,
    /// How long a host may be silent in the middle of an answer.
    pub stall: Duration,
}

/// Why no requests can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates to trust.
    #[error(transparent)]
    Certificates(#[from] io::Error),
    /// The proxy to ask.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// Makes requests.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    received: std::cell::Cell<u64>,
}

/// An answer that is good.
struct Answer {
    response: Response<Body>,
    /// Whether it is the range that was asked for and not the whole file.
    partial: bool,
}

impl Client {
    /// A client. For addresses on this machine, `direct`, no proxy is asked.
    ///
    /// # Errors
    /// The file with certificates cannot be read or has none, or the environment names a proxy that is none.
    pub fn new(options: &ClientOptions, direct: bool) -> Result<Self, ClientError> {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(certificates(options.ca_file.as_deref())?)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .user_agent(options.user_agent.clone())
            .accept_encoding("identity")
            .max_redirects(10)
            .proxy(if direct { None } else { super::proxy::named()? })
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(options.stall))
            .timeout_recv_response(Some(options.stall))
            .timeout_per_read(Some(options.stall));
        Ok(Self { agent: config.build().into(), received: std::cell::Cell::new(0) })
    }

    /// How many bytes of files it has received, documents included.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// The proxy that is asked for `url`, in words for people: without its name and password.
    fn proxy_for(&self, url: &str) -> Option<String> {
        let proxy = self.agent.config().proxy()?;
        if url.parse().is_ok_and(|uri| proxy.is_no_proxy(&uri)) {
            return None;
        }
        Some(super::proxy::shown(proxy))
    }

    fn count(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    /// Fetches a small file of at most `limit` bytes.
    pub fn small(&self, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let mut patience = Patience::new();
        loop {
            let outcome = self.ask(url, None, None).and_then(|answer| {
                let mut bytes = Vec::new();
                let declared = content_length(answer.response.headers());
                if declared.is_some_and(|length| length > limit) {
                    return Err(Trouble::Final(Why::TooLong(limit)));
                }
                let body = answer.response.into_body().into_with_config().limit(u64::MAX).reader();
                body.take(limit + 1).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
                self.count(bytes.len());
                if bytes.len() as u64 > limit {
                    return Err(Trouble::Final(Why::TooLong(limit)));
                }
                // A body that ends with its connection may be half of one.
                match declared {
                    Some(length) if length != bytes.len() as u64 => {
                        Err(Trouble::Passing(Why::Network("the connection broke".into()), None))
                    }
                    _ => Ok(bytes),
                }
            });
            match outcome {
                Ok(bytes) => return Ok(bytes),
                Err(trouble) => patience.bear(trouble, false).map_err(|why| at(url, why))?,
            }
        }
    }

    /// Fetches the bytes `range` of a file that has `size` bytes, and hands them to `receiver` in order.
    ///
    /// A transfer that breaks goes on where it broke. The whole file is asked for without a range, so that it works with every
    /// host; a host that gives no ranges then begins again.
    ///
    /// # Errors
    /// [`Why::NoRanges`] if the host answers a range with the whole file.
    pub fn stream(
        &self,
        url: &str,
        range: Range<u64>,
        size: u64,
        receiver: &mut dyn Receiver,
    ) -> Result<(), FetchError> {
        let whole = range.start == 0 && range.end == size;
        let mut patience = Patience::new();
        let mut have = range.start;
        let mut version: Option<String> = None;
        while have < range.end {
            let asked = (!whole || have > 0).then_some(have..range.end);
            let mut moved = false;
            let mut attempt = || -> Result<(), Trouble> {
                let answer = self.ask(url, asked.as_ref(), version.as_deref())?;
                let headers = answer.response.headers();
                if answer.partial {
                    check_range(headers, have, size)?;
                } else {
                    if !whole {
                        return Err(Trouble::Final(Why::NoRanges));
                    }
                    if let Some(found) = content_length(headers)
                        && found != size
                    {
                        return Err(Trouble::Final(Why::Size { found, expected: size }));
                    }
                    if have > 0 {
                        have = 0;
                        receiver.restart();
                    }
                }
                version = strong_tag(headers);
                let body = answer.response.into_body().into_with_config().limit(u64::MAX).reader();
                // Never more than was asked for.
                let mut body = body.take(range.end - have);
                let mut buffer = vec![0; BUFFER];
                loop {
                    let count = match body.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(count) => count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(broken(&error)),
                    };
                    self.count(count);
                    receiver.take(&buffer[..count]).map_err(|error| Trouble::Final(Why::Unusable(error)))?;
                    have += count as u64;
                    moved = true;
                }
                if have < range.end {
                    return Err(Trouble::Passing(Why::Network("the connection broke".into()), None));
                }
                Ok(())
            };
            if let Err(trouble) = attempt() {
                patience.bear(trouble, moved).map_err(|why| at(url, why))?;
            }
        }
        Ok(())
    }

    fn ask(&self, url: &str, range: Option<&Range<u64>>, version: Option<&str>) -> Result<Answer, Trouble> {
        let mut request = self.agent.get(url);
        if let Some(range) = range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
            if let Some(version) = version {
                request = request.header(header::IF_RANGE, version);
            }
        }
        let response = request.call().map_err(|error| trouble_of(&error, self.proxy_for(url).as_deref()))?;
        let status = response.status();
        match status {
            StatusCode::OK => Ok(Answer { response, partial: false }),
            StatusCode::PARTIAL_CONTENT if range.is_some() => Ok(Answer { response, partial: true }),
            // The range lies beyond the file, or several hosts disagree about it: whole files remain.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_IMPLEMENTED if range.is_some() => {
                Err(Trouble::Final(Why::NoRanges))
            }
            _ => Err(refusal(url, &response)),
        }
    }
}

/// Something went wrong.
pub(super) enum Trouble {
    /// Asking again will not help.
    Final(Why),
    /// It may: after this pause, if the host named one.
    Passing(Why, Option<Duration>),
}

/// Counts failures, and waits between them.
struct Patience {
    in_a_row: u32,
    in_all: u32,
}

impl Patience {
    fn new() -> Self {
        Self { in_a_row: 0, in_all: 0 }
    }

    /// Waits until it makes sense to try again, or gives up.
    fn bear(&mut self, trouble: Trouble, moved: bool) -> Result<(), Why> {
        let (why, pause) = match trouble {
            Trouble::Final(why) => return Err(why),
            Trouble::Passing(why, pause) => (why, pause),
        };
        self.in_a_row = if moved { 1 } else { self.in_a_row + 1 };
        self.in_all += 1;
        if self.in_a_row >= PATIENCE || self.in_all >= BREAKS {
            return Err(why);
        }
        let pause = match pause {
            Some(pause) if pause > LONGEST_PAUSE => return Err(Why::Later(pause)),
            Some(pause) => pause,
            None if moved => Duration::ZERO,
            None => jittered(FIRST_PAUSE * 2_u32.pow(self.in_a_row - 1)),
        };
        std::thread::sleep(pause);
        Ok(())
    }
}

/// Between three quarters and all of it, so that many clients do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is as good as any.
    let _ = stigmer_platform::random(&mut byte);
    pause.mul_f64(0.75 + f64::from(byte[0]) / 1024.0)
}

fn at(url: &str, why: Why) -> FetchError {
    FetchError { url: url.to_owned(), why }
}

/// The connection broke in the middle of a body.
fn broken(error: &io::Error) -> Trouble {
    Trouble::Passing(Why::Network(error.to_string()), None)
}

fn trouble_of(error: &ureq::Error, proxy: Option<&str>) -> Trouble {
    // With a proxy on the way it may be the proxy that is not there, and nothing else tells which one it is.
    let network = || match proxy {
        Some(proxy) => Why::Network(format!("{error}, by way of the proxy `{proxy}`")),
        None => Why::Network(error.to_string()),
    };
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => {
            Trouble::Final(Why::Certificate(error.to_string()))
        }
        // The library wraps what its TLS layer says into an I/O error.
        ureq::Error::Io(inner)
            if inner.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) =>
        {
            Trouble::Final(Why::Certificate(inner.to_string()))
        }
        ureq::Error::ConnectProxyFailed(said) => refusal_of_proxy(said, proxy.unwrap_or_default()),
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => Trouble::Passing(network(), None),
        _ => Trouble::Final(network()),
    }
}

/// What it means that a proxy refuses. The library gives its words only; the status is their last part.
fn refusal_of_proxy(said: &str, proxy: &str) -> Trouble {
    let status = said.rsplit('/').next().and_then(|last| last.parse::<u16>().ok());
    let why = match status {
        Some(407) => "wants another name or password (status 407)".to_owned(),
        Some(status) => format!("answers with status {status}"),
        None => format!("is of no use: {said}"),
    };
    let why = Why::Proxy { proxy: proxy.to_owned(), why };
    match status {
        Some(429 | 500 | 502..=504) => Trouble::Passing(why, None),
        _ => Trouble::Final(why),
    }
}

/// What a status other than success means.
fn refusal(url: &str, response: &Response<Body>) -> Trouble {
    let status = response.status();
    let was_redirected = response.get_uri() != url;
    let pause = retry_after(response.headers(), SystemTime::now());
    let why = if status == StatusCode::NOT_FOUND { Why::Missing } else { Why::Status(status.as_u16()) };
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502..=504 => Trouble::Passing(why, pause),
        // An address that a redirect led to has expired; the next request is led to a fresh one.
        400 | 401 | 403 | 404 | 410 if was_redirected => Trouble::Passing(why, pause),
        _ => Trouble::Final(why),
    }
}

/// The certificates to trust: the system's (or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`), and the ones in `more`.
fn certificates(more: Option<&Path>) -> io::Result<Vec<Certificate<'static>>> {
    // A certificate of the system that cannot be read is one less to trust, and no reason to give up.
    let system = rustls_native_certs::load_native_certs().certs;
    let mut all: Vec<_> =
        system.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect();
    if let Some(path) = more {
        let text = fs_err::read(path)?;
        let before = all.len();
        for item in parse_pem(&text).flatten() {
            if let PemItem::Certificate(certificate) = item {
                all.push(certificate);
            }
        }
        if all.len() == before {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("`{}` has no certificate in PEM form", path.display()),
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_without_progress_and_lasts_with_it() {
        let passing = || Trouble::Passing(Why::Status(503), Some(Duration::ZERO));
        let mut patience = Patience::new();
        let failures = (1..1000).find(|_| patience.bear(passing(), false).is_err());
        assert_eq!(failures, Some(PATIENCE));
        let mut patience = Patience::new();
        let failures = (1..1000).find(|_| patience.bear(passing(), true).is_err());
        assert_eq!(failures, Some(BREAKS));
        let endless = Trouble::Passing(Why::Status(429), Some(Duration::from_secs(3600)));
        assert!(matches!(Patience::new().bear(endless, false), Err(Why::Later(_))));
    }
}
