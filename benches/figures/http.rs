//! A server on the loopback with one handler: what `dotslash` and updates are fetched from, and what the runner registers with.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;

/// What was asked.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The first and the last byte that are wanted, if not all are.
    pub(crate) range: Option<(usize, usize)>,
}

/// What is answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The file.
    body: Arc<[u8]>,
    /// What of it is sent.
    part: Range<usize>,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Arc<[u8]>>) -> Self {
        let body = body.into();
        Self { status: 200, part: 0..body.len(), body }
    }

    pub(crate) fn status(status: u16, body: impl Into<Arc<[u8]>>) -> Self {
        Self { status, ..Self::ok(body) }
    }

    /// The file, or the part of it that was asked for.
    pub(crate) fn file(body: &Arc<[u8]>, request: &Request) -> Self {
        match request.range {
            Some((first, last)) if first <= last && first < body.len() => {
                Self { status: 206, body: Arc::clone(body), part: first..body.len().min(last + 1) }
            }
            Some(_) => Self::status(416, []),
            None => Self::ok(Arc::clone(body)),
        }
    }

    /// How many bytes are sent, headers not counted.
    pub(crate) fn len(&self) -> usize {
        self.part.len()
    }

    fn send(&self, mut writer: impl Write) -> io::Result<()> {
        let (Range { start, end }, size) = (self.part.clone(), self.body.len());
        // Into one packet: a reader that waits for the end of the head shall not wait twice.
        let mut head = Vec::new();
        write!(head, "HTTP/1.1 {} x\r\nContent-Length: {}\r\n", self.status, end - start)?;
        if self.status == 206 {
            write!(head, "Content-Range: bytes {start}-{}/{size}\r\n", end.saturating_sub(1))?;
        }
        head.extend(b"\r\n");
        writer.write_all(&head)?;
        writer.write_all(&self.body[start..end])
    }
}

/// Answers until the program ends: its threads hold nothing that needs an orderly end.
pub(crate) struct Server {
    url: String,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handler = Arc::clone(&handler);
                std::thread::spawn(move || serve(&stream, handler.as_ref()));
            }
        });
        Ok(Self { url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Answers the requests of one connection until the other side closes it.
fn serve(stream: &TcpStream, handler: &dyn Fn(&Request) -> Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, writer) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut range) = (0, None);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            } else if name.eq_ignore_ascii_case("range") {
                range = single_range(value.trim());
            }
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        handler(&Request { method, path, range }).send(writer)?;
    }
}

/// `bytes=FIRST-LAST`, the one form that updates ask in.
fn single_range(value: &str) -> Option<(usize, usize)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
