//! Following an execution: every event once, in order, whatever becomes of the connection.
//!
//! The stream is that of server-sent events (WHATWG HTML section 9.2). The place of the last event that was given out is
//! kept here; a new connection begins behind it.

use super::{Api, ApiError, GLANCE};
use crate::services::server::journal::Event;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use ureq::http::{Method, StatusCode};

/// A line may be as long as the longest event with what is around it, in bytes.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// How long is waited before the next connection at most, if one after the other breaks.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is heard of an execution.
#[derive(Debug)]
pub enum Told {
    /// Something happened to it.
    Event(Event),
    /// Nothing did, and the server lives.
    Quiet,
    /// The connection was lost; it is tried again.
    Lost,
    /// There is a connection again.
    Back,
}

/// An execution that is followed to its end.
#[derive(Debug)]
pub struct Follow {
    api: Api,
    id: String,
    after: u64,
    stream: Option<Stream>,
    is_lost: bool,
    is_over: bool,
    pause: Duration,
}

impl Follow {
    /// Follows the execution `id` from behind the place `after`.
    pub fn new(api: Api, id: &str, after: u64) -> Self {
        let id = id.to_owned();
        Self { api, id, after, stream: None, is_lost: false, is_over: false, pause: GLANCE }
    }

    fn step(&mut self) -> Result<Option<Told>, ApiError> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            let Some(stream) = &mut self.stream else {
                if let Some(told) = self.connect()? {
                    return Ok(Some(told));
                }
                continue;
            };
            match stream.next() {
                Some(Heard::Event(event)) if event.seq <= self.after => {}
                Some(Heard::Event(event)) if event.seq == self.after + 1 => {
                    self.after = event.seq;
                    self.is_over = matches!(event.kind.as_str(), "completed" | "failed" | "cancelled");
                    self.pause = GLANCE;
                    return Ok(Some(Told::Event(event)));
                }
                Some(Heard::Comment) => return Ok(Some(Told::Quiet)),
                // A gap would be lost for ever: what is missing is asked for again, as if the connection had broken there.
                Some(Heard::Event(_)) | None => {
                    self.stream = None;
                    if let Some(told) = self.lose() {
                        return Ok(Some(told));
                    }
                }
            }
        }
    }

    /// Something to tell, if that is news.
    fn lose(&mut self) -> Option<Told> {
        (!std::mem::replace(&mut self.is_lost, true)).then_some(Told::Lost)
    }

    fn connect(&mut self) -> Result<Option<Told>, ApiError> {
        if self.is_lost {
            std::thread::sleep(self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.api.find_again()?;
        }
        let path = format!("/v1/executions/{}/events?after={}", self.id, self.after);
        match self.api.send(&Method::GET, &path, None, true) {
            Ok(response) if response.status().is_success() => {
                self.stream = Some(Stream(BufReader::new(Box::new(response.into_body().into_reader()))));
                Ok(std::mem::take(&mut self.is_lost).then_some(Told::Back))
            }
            // It is about to end.
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => Ok(self.lose()),
            Ok(response) => Err(match self.api.read::<serde_json::Value>(response) {
                Err(refusal) => refusal,
                Ok(_) => ApiError::NotReady,
            }),
            Err(ApiError::Unreachable { .. }) => Ok(self.lose()),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Follow {
    /// An error if there is no such execution, or if the server was stopped or does not come back.
    type Item = Result<Told, ApiError>;

    /// What happens next; `None` behind the end of the execution.
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

enum Heard {
    Event(Event),
    Comment,
}

struct Stream(BufReader<Box<dyn Read + Send>>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    /// What comes next; `None` if the stream ends, breaks, or is none of ours.
    fn next(&mut self) -> Option<Heard> {
        loop {
            let mut line = Vec::new();
            (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
            // What is cut off is no line.
            let line = line.strip_suffix(b"\n")?;
            if line.starts_with(b":") {
                return Some(Heard::Comment);
            }
            // The server writes an event's data in one line; the other fields say what is in it as well.
            if let Some(data) = line.strip_prefix(b"data: ") {
                return serde_json::from_slice(data).ok().map(Heard::Event);
            }
        }
    }
}
