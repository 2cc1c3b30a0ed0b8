//! A static host on this machine that does what it is told, misbehaviour included, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The path, with the query.
    pub path: String,
    /// The range, as its first byte and the one behind its last.
    pub range: Option<Range<usize>>,
    /// All headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// How many requests for this path came before it.
    pub nth: usize,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is for a carrier or its compressed code, and not for a document.
    pub fn is_for_bytes(&self) -> bool {
        let is_document = |extension: &std::ffi::OsStr| extension == "json" || extension == "minisig";
        !std::path::Path::new(&self.path).extension().is_some_and(is_document)
    }
}

/// What to do with a request.
pub enum Do {
    /// What a host should.
    Serve,
    /// As if ranges did not exist.
    Whole,
    /// Say no.
    Status(u16, &'static str),
    /// Break the connection after so many bytes of the body.
    Cut(usize),
    /// Serve other bytes, and break the connection after so many of them.
    CutOf(Vec<u8>, usize),
    /// Stop sending after so many bytes, tell the test, and hold the connection until the test lets go.
    Hold(usize, std::sync::mpsc::Sender<()>, Arc<Mutex<()>>),
    /// Send somebody elsewhere.
    Redirect(String),
    /// Serve other bytes in place of those of the path.
    Instead(Vec<u8>),
    /// Serve these bytes with a header line more, ranges or not.
    With(&'static str, Vec<u8>),
    /// Serve, and never say how long the body is.
    Unmeasured(Vec<u8>),
}

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;
type Rule = Box<dyn Fn(&Request) -> Do + Send>;

/// The host. Its threads end with the test program.
pub struct Host {
    address: SocketAddr,
    files: Files,
    rule: Arc<Mutex<Rule>>,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Host {
    /// Starts a host of these files, on a port that the system chooses.
    pub fn new(files: Vec<(String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = Self {
            address: listener.local_addr().expect("an address"),
            files: Arc::new(Mutex::new(files.into_iter().collect())),
            rule: Arc::new(Mutex::new(Box::new(|_| Do::Serve))),
            log: Arc::default(),
        };
        let (files, rule, log) = (host.files.clone(), host.rule.clone(), host.log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, rule, log) = (files.clone(), rule.clone(), log.clone());
                std::thread::spawn(move || {
                    // A client that goes away is no concern of a host's.
                    let _ = attend(&stream, &files, &rule, &log);
                });
            }
        });
        host
    }

    /// Base address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Socket address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, does what `rule` says.
    pub fn rule(&self, rule: impl Fn(&Request) -> Do + Send + 'static) {
        *self.rule.lock().expect("the rule") = Box::new(rule);
    }

    /// From now on, has these files and no others.
    pub fn replace(&self, files: Vec<(String, Vec<u8>)>) {
        *self.files.lock().expect("the files") = files.into_iter().collect();
    }

    /// Changes the file whose path ends in `suffix`.
    pub fn change(&self, suffix: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut files = self.files.lock().expect("the files");
        let (_, content) =
            files.iter_mut().find(|(path, _)| path.ends_with(suffix)).unwrap_or_else(|| panic!("{suffix}"));
        change(content);
    }

    /// Removes the files whose path ends in `suffix`.
    pub fn remove(&self, suffix: &str) {
        self.files.lock().expect("the files").retain(|path, _| !path.ends_with(suffix));
    }

    /// Content of the file whose path ends in `suffix`.
    pub fn file(&self, suffix: &str) -> Vec<u8> {
        let files = self.files.lock().expect("the files");
        files.iter().find(|(path, _)| path.ends_with(suffix)).unwrap_or_else(|| panic!("{suffix}")).1.clone()
    }

    /// What it was asked since this was last called.
    pub fn take_log(&self) -> Vec<Request> {
        std::mem::take(&mut self.log.lock().expect("the log"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its threads stay until the program ends. What it served must not: a hundred megabytes for each of many tests.
        if let Ok(mut files) = self.files.lock() {
            files.clear();
        }
        if let Ok(mut rule) = self.rule.lock() {
            *rule = Box::new(|_| Do::Serve);
        }
    }
}

fn attend(
    stream: &TcpStream,
    files: &Files,
    rule: &Mutex<Rule>,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let Some(mut request) = read(&mut reader)? else { return Ok(()) };
        let what = {
            let mut log = log.lock().expect("the log");
            request.nth = log.iter().filter(|other| other.path == request.path).count();
            log.push(request.clone());
            rule.lock().expect("the rule")(&request)
        };
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        let content = files.lock().expect("the files").get(&path).cloned();
        match what {
            Do::Status(status, header) => {
                let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
                write!(&*stream, "HTTP/1.1 {status} No\r\n{header}Content-Length: 0\r\n\r\n")?;
            }
            Do::Redirect(to) => {
                write!(&*stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
            }
            Do::Serve | Do::Cut(_) | Do::Hold(..) | Do::Whole if content.is_none() => {
                write!(&*stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            }
            Do::Serve => answer(stream, &request, &content.unwrap_or_default(), true, "", usize::MAX)?,
            Do::Whole => answer(stream, &request, &content.unwrap_or_default(), false, "", usize::MAX)?,
            Do::Instead(bytes) => answer(stream, &request, &bytes, true, "", usize::MAX)?,
            Do::With(header, bytes) => answer(stream, &request, &bytes, false, header, usize::MAX)?,
            Do::Unmeasured(bytes) => {
                write!(&*stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                (&*stream).write_all(&bytes)?;
                return Ok(());
            }
            Do::Cut(after) => {
                answer(stream, &request, &content.unwrap_or_default(), true, "", after)?;
                return Ok(());
            }
            Do::CutOf(bytes, after) => {
                answer(stream, &request, &bytes, true, "", after)?;
                return Ok(());
            }
            Do::Hold(after, told, held) => {
                answer(stream, &request, &content.unwrap_or_default(), true, "", after)?;
                let _ = told.send(());
                drop(held.lock());
                return Ok(());
            }
        }
    }
}

/// Sends the range that was asked for, or all, but at most `most` bytes of the body.
fn answer(
    mut stream: &TcpStream,
    request: &Request,
    content: &[u8],
    ranges: bool,
    header: &str,
    most: usize,
) -> std::io::Result<()> {
    let tag = format!("\"{}\"", &blake3::hash(content).to_hex()[..16]);
    let is_same = request.header("if-range").is_none_or(|wanted| wanted == tag);
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let range = request.range.clone().filter(|_| ranges && is_same);
    let body = match range {
        Some(range) if range.start >= content.len() => {
            return write!(
                stream,
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                content.len()
            );
        }
        Some(range) => {
            let range = range.start..range.end.min(content.len());
            write!(
                stream,
                "HTTP/1.1 206 Partial\r\nETag: {tag}\r\n{header}Content-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n\r\n",
                range.start,
                range.end - 1,
                content.len(),
                range.len()
            )?;
            &content[range]
        }
        None => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nETag: {tag}\r\n{header}Content-Length: {}\r\n\r\n",
                content.len()
            )?;
            content
        }
    };
    stream.write_all(&body[..body.len().min(most)])?;
    stream.flush()
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let range = headers.iter().find(|(name, _)| name == "range").and_then(|(_, value)| {
        let (start, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        // `bytes=N-` is everything from N on.
        let end = if last.is_empty() { usize::MAX } else { last.parse::<usize>().ok()? + 1 };
        Some(start.parse().ok()?..end)
    });
    Ok(Some(Request { path, range, headers, nth: 0 }))
}
