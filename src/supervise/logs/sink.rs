//! The writing end: from a component's pipe into its file.

use super::{KEPT, Line, now, rotated};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A file longer than this is rotated.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// A longer line is cut in pieces: a component that never ends its line must not fill our memory.
const MAX_TEXT: usize = 64 * 1024;

/// How many of the last lines are kept at hand, for the message of a failed start.
const RECENT: usize = 20;

/// A component's log, shared by everything that writes to it.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    component: String,
    file: Option<fs_err::File>,
    size: u64,
    limit: u64,
    recent: VecDeque<String>,
}

impl Sink {
    /// The log of `component` in the file `path`, which is appended to.
    pub fn open(path: PathBuf, component: &str) -> io::Result<Self> {
        let mut state = State {
            path,
            component: component.to_owned(),
            file: None,
            size: 0,
            limit: MAX_FILE,
            recent: VecDeque::new(),
        };
        state.reopen()?;
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// Writes lines that came on `stream`. A log that cannot be written loses lines; nothing else may
    /// suffer from that, so there is nothing to return.
    pub fn write<T: AsRef<str>>(&self, stream: &str, texts: &[T]) {
        if texts.is_empty() {
            return;
        }
        // A poisoned lock means that a writer panicked; the state is only a file and its length.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.write(stream, texts);
    }

    /// Says something that happened to the component.
    pub fn event(&self, text: &str) {
        self.write("event", &[text]);
    }

    /// The last lines that the component itself wrote.
    pub fn recent(&self) -> Vec<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.recent.iter().cloned().collect()
    }

    /// Forgets the last lines: they belong to a process that is gone.
    pub fn forget_recent(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.recent.clear();
    }
}

impl State {
    fn reopen(&mut self) -> io::Result<()> {
        let file = fs_err::OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn write<T: AsRef<str>>(&mut self, stream: &str, texts: &[T]) {
        let time = now();
        let mut block = Vec::new();
        for text in texts {
            let line = Line {
                time: time.clone(),
                component: self.component.clone(),
                stream: stream.to_owned(),
                text: text.as_ref().to_owned(),
            };
            if serde_json::to_writer(&mut block, &line).is_ok() {
                block.push(b'\n');
            }
            if stream != "event" {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(line.text);
            }
        }
        if self.size.saturating_add(block.len() as u64) > self.limit && self.size > 0 {
            self.rotate();
        }
        if self.file.is_none() && self.reopen().is_err() {
            return;
        }
        if let Some(file) = &mut self.file {
            match file.write_all(&block) {
                Ok(()) => self.size += block.len() as u64,
                Err(_) => self.file = None,
            }
        }
    }

    fn rotate(&mut self) {
        self.file = None;
        for age in (0..KEPT).rev() {
            // A gap in the series is no error, and neither is anything else here: see `Sink::write`.
            let _ = std::fs::rename(rotated(&self.path, age), rotated(&self.path, age + 1));
        }
        let _ = self.reopen();
    }
}

/// Cuts bytes into lines, whatever they are.
#[derive(Debug, Default)]
struct Cutter {
    rest: Vec<u8>,
}

impl Cutter {
    /// Takes `bytes`, and gives the lines that are complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.rest.pop();
                if self.rest.ends_with(b"\r") {
                    self.rest.pop();
                }
                lines.push(self.take());
            } else if self.rest.len() >= MAX_TEXT {
                lines.push(self.take());
            }
        }
        lines
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

/// Writes everything that comes from `pipe` to `sink`, until its end.
pub async fn pump(mut pipe: impl AsyncRead + Unpin, stream: &'static str, sink: Sink) {
    let mut cutter = Cutter::default();
    let mut buffer = vec![0_u8; 8 * 1024];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => sink.write(stream, &cutter.push(&buffer[..count])),
        }
    }
    if !cutter.rest.is_empty() {
        sink.write(stream, &[cutter.take()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_become_lines() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.push(b"a\r\nb"), ["a"]);
        assert_eq!(cutter.push(b"c\n\n"), ["bc", ""]);
        assert_eq!(cutter.push(b"\xff\xfe\n"), ["\u{fffd}\u{fffd}"]);
        let lines = cutter.push(&vec![b'x'; MAX_TEXT + 10]);
        assert_eq!(lines.len(), 1);
        assert!(cutter.rest.is_empty());
    }

    #[test]
    fn a_log_is_bounded_and_nothing_before_the_oldest_file_is_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.log");
        let sink = Sink::open(path.clone(), "c").expect("opens");
        sink.0.lock().expect("whole").limit = 1000;
        for number in 0..100 {
            sink.write("stderr", &[format!("line {number}")]);
        }
        let files = fs_err::read_dir(dir.path()).expect("lists").count();
        assert_eq!(files, KEPT + 1);
        for age in 0..=KEPT {
            let size = fs_err::metadata(rotated(&path, age)).expect("exists").len();
            assert!(size <= 1000, "{size}");
        }
        assert_eq!(sink.recent().len(), RECENT);
        assert_eq!(sink.recent().last().map(String::as_str), Some("line 99"));
    }

    #[test]
    fn a_log_that_cannot_be_written_harms_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("gone");
        fs_err::create_dir(&inner).expect("made");
        let sink = Sink::open(inner.join("c.log"), "c").expect("opens");
        fs_err::remove_dir_all(&inner).expect("removed");
        sink.0.lock().expect("whole").limit = 1;
        sink.event("one");
        sink.event("two");
    }
}
