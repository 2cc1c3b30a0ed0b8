//! A published release on the loopback, and how many bytes of it were fetched.

use crate::Outcome;
use crate::http::{Answer, Server};
use crate::scratch::files;
use fs_err as fs;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of bodies that were sent.
#[derive(Debug, Default)]
struct Counters {
    code: AtomicU64,
    carrier: AtomicU64,
    documents: AtomicU64,
    requests: AtomicU64,
}

/// What was fetched since it was last asked, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Of the compressed code part.
    pub(crate) code: u64,
    /// Of the carrier: frames.
    pub(crate) carrier: u64,
    /// The listing, the update index, and their signatures.
    pub(crate) documents: u64,
    /// How many requests that took.
    pub(crate) requests: u64,
}

impl Fetched {
    pub(crate) fn all(self) -> u64 {
        self.code + self.carrier + self.documents
    }
}

/// What a static host of releases would be.
pub(crate) struct Site {
    server: Server,
    counters: Arc<Counters>,
}

impl Site {
    /// Serves the files below `dir`, out of memory.
    pub(crate) fn start(dir: &Path) -> Outcome<Self> {
        let mut content: HashMap<String, Arc<[u8]>> = HashMap::new();
        for (path, _) in files(dir)? {
            let name = path.strip_prefix(dir)?.to_str().ok_or("a file's name is no text")?;
            content.insert(format!("/{name}"), fs::read(&path)?.into());
        }
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        let server = Server::start(move |request| {
            let Some(file) = content.get(&request.path) else {
                return Answer::status(404, []);
            };
            let answer = Answer::file(file, request);
            let part = match request.path.rsplit_once('.') {
                Some((_, "zst")) => &counted.code,
                Some((_, "json" | "minisig")) => &counted.documents,
                _ => &counted.carrier,
            };
            part.fetch_add(answer.len() as u64, Ordering::Relaxed);
            counted.requests.fetch_add(1, Ordering::Relaxed);
            answer
        })?;
        Ok(Self { server, counters })
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// What was fetched since this was last asked.
    pub(crate) fn take(&self) -> Fetched {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Counters { code, carrier, documents, requests } = &*self.counters;
        Fetched {
            code: take(code),
            carrier: take(carrier),
            documents: take(documents),
            requests: take(requests),
        }
    }
}
