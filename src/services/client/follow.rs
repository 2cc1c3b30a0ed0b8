//! Following an execution: every journaled event once and in order, across lost connections.
//!
//! The stream is that of server-sent events (WHATWG HTML section 9.2). The sequence number of the last event is kept here; a new
//! connection begins after it. Fragments of text have no place in the journal: they are passed on as they come, with the place of
//! their text in its message.

use super::{ApiError, Call, Client, POLL_INTERVAL};
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use stigmer_protocol::ExecutionId;
use stigmer_protocol::api::JournalEvent;
use stigmer_protocol::api::events::EventQuery;
use ureq::http::{Method, StatusCode};

/// Maximum length of a line in bytes: that of the longest event with its envelope.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum pause before the next connection, if one after the other breaks.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// An update on an execution that is followed.
#[derive(Debug)]
pub enum Update {
    /// A journaled event, or a fragment of a message.
    Event(Box<JournalEvent>),
    /// A sign of life of the server, while nothing happens.
    KeepAlive,
    /// The connection was lost; the client tries to reconnect.
    Disconnected,
    /// The connection is there again.
    Reconnected,
}

/// An execution that is followed to its end.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    id: ExecutionId,
    after: u64,
    stream: Option<Stream>,
    is_lost: bool,
    is_over: bool,
    pause: Duration,
}

impl Follow {
    /// Follows the execution `id` from after the event with the sequence number `after`.
    pub fn new(client: Client, id: ExecutionId, after: u64) -> Self {
        Self { client, id, after, stream: None, is_lost: false, is_over: false, pause: POLL_INTERVAL }
    }

    fn step(&mut self) -> Result<Option<Update>, ApiError> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            let Some(stream) = &mut self.stream else {
                if let Some(update) = self.connect()? {
                    return Ok(Some(update));
                }
                continue;
            };
            match stream.next() {
                Some(Frame::Fragment(event)) => return Ok(Some(Update::Event(Box::new(event)))),
                Some(Frame::Event(event)) if event.seq <= self.after => {}
                Some(Frame::Event(event)) if event.seq == self.after + 1 => {
                    self.after = event.seq;
                    self.is_over = event.event.is_end();
                    self.pause = POLL_INTERVAL;
                    return Ok(Some(Update::Event(Box::new(event))));
                }
                Some(Frame::Comment) => return Ok(Some(Update::KeepAlive)),
                // A gap would be lost for ever: the missing events are requested again, as if the connection had broken there.
                Some(Frame::Event(_)) | None => {
                    self.stream = None;
                    if let Some(update) = self.lose() {
                        return Ok(Some(update));
                    }
                }
            }
        }
    }

    /// Marks the connection as lost. Returns an update the first time.
    fn lose(&mut self) -> Option<Update> {
        (!std::mem::replace(&mut self.is_lost, true)).then_some(Update::Disconnected)
    }

    fn connect(&mut self) -> Result<Option<Update>, ApiError> {
        if self.is_lost {
            std::thread::sleep(self.pause);
            self.pause = (self.pause * 2).min(MAX_PAUSE);
            self.client.find_again()?;
        }
        let query = EventQuery { after: Some(self.after), limit: None };
        let call = Call::new(Method::GET, &["executions", &self.id, "events"]).query(&query);
        match self.client.send(&call, "text/event-stream") {
            Ok(response) if response.status().is_success() => {
                self.stream = Some(Stream(BufReader::new(Box::new(response.into_body().into_reader()))));
                Ok(std::mem::take(&mut self.is_lost).then_some(Update::Reconnected))
            }
            // The server is stopping.
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => Ok(self.lose()),
            Ok(response) => Err(match self.client.read::<serde_json::Value>(response) {
                Err(error) => error,
                Ok(_) => ApiError::NotReady,
            }),
            Err(ApiError::Unreachable { .. }) => Ok(self.lose()),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Follow {
    /// An error if the execution does not exist, or if the server was stopped or does not come back.
    type Item = Result<Update, ApiError>;

    /// Waits for the next update; `None` after the end of the execution.
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[derive(Debug)]
enum Frame {
    Event(JournalEvent),
    Fragment(JournalEvent),
    Comment,
}

struct Stream(BufReader<Box<dyn Read + Send>>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    /// Reads the next frame; `None` if the stream ends, breaks, or has another format.
    fn next(&mut self) -> Option<Frame> {
        let mut has_id = false;
        let mut data = None;
        loop {
            let mut line = Vec::new();
            (&mut self.0).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).ok()?;
            // A line without its end was cut off.
            let line = line.strip_suffix(b"\n")?;
            if line.is_empty() {
                let Some(event) = data else { continue };
                // An event without an id has no place in the journal.
                return Some(if has_id { Frame::Event(event) } else { Frame::Fragment(event) });
            }
            if line.starts_with(b":") {
                return Some(Frame::Comment);
            }
            has_id |= line.starts_with(b"id:");
            // The server writes the data of an event on one line.
            if let Some(text) = line.strip_prefix(b"data: ") {
                data = Some(serde_json::from_slice(text).ok()?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_and_comments_are_told_from_journaled_events() {
        let event =
            |kind: &str, data: &str| format!(r#"data: {{"seq":3,"time":"t","type":"{kind}","data":{data}}}"#);
        let text = format!(
            ": comment\n\nid: 3\nevent: note\n{}\n\nevent: message.delta\n{}\n\nevent: note\ndata: {{\"cut",
            event("note", r#"{"text":"x"}"#),
            event("message.delta", r#"{"message":"m","text":"x"}"#),
        );
        let mut stream = Stream(BufReader::new(Box::new(std::io::Cursor::new(text))));
        assert!(matches!(stream.next(), Some(Frame::Comment)));
        assert!(matches!(stream.next(), Some(Frame::Event(event)) if event.event.kind() == "note"));
        assert!(
            matches!(stream.next(), Some(Frame::Fragment(event)) if event.event.kind() == "message.delta")
        );
        assert!(stream.next().is_none());
    }
}
