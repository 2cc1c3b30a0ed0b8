//! The writing end: from a component's pipe into its file.

use super::{KEPT, Line, now, rotated};
use crate::supervise::protocol::shortened;
use crate::supervise::redact::Redactor;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    redactor: Redactor,
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
            redactor: Redactor::default(),
        };
        state.reopen()?;
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// From now on, keeps out what `redactor` hides.
    pub fn hide(&self, redactor: &Redactor) {
        self.lock().redactor = redactor.clone();
    }

    /// What is kept out.
    pub fn redactor(&self) -> Redactor {
        self.lock().redactor.clone()
    }

    /// Writes lines that came on `stream`. A log that cannot be written loses lines; nothing else may
    /// suffer from that, so there is nothing to return.
    pub fn write<T: AsRef<str>>(&self, stream: &str, texts: &[T]) {
        if texts.is_empty() {
            return;
        }
        self.lock().write(stream, texts);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that a writer panicked; the state is only a file and its length.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something that happened to the component.
    pub fn event(&self, text: &str) {
        self.write("event", &[text]);
    }

    /// The last lines that the component itself wrote.
    pub fn recent(&self) -> Vec<String> {
        self.lock().recent.iter().cloned().collect()
    }

    /// Forgets the last lines: they belong to a process that is gone.
    pub fn forget_recent(&self) {
        self.lock().recent.clear();
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
                text: self.redactor.redact(text.as_ref()).into_owned(),
            };
            if serde_json::to_writer(&mut block, &line).is_ok() {
                block.push(b'\n');
            }
            if stream != "event" {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(shortened(&line.text).into_owned());
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
    redactor: Redactor,
}

impl Cutter {
    /// Takes `bytes`, and gives the lines that are complete. How the bytes are divided over calls makes no difference.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let body = piece.strip_suffix(b"\n");
            self.rest.extend_from_slice(body.unwrap_or(piece));
            while self.rest.len() > MAX_TEXT {
                lines.push(self.piece());
            }
            if body.is_some() {
                if self.rest.ends_with(b"\r") {
                    self.rest.pop();
                }
                lines.push(self.take());
            }
        }
        lines
    }

    /// The beginning of a line that is too long, cut neither through a secret nor through a character.
    fn piece(&mut self) -> String {
        let window = &self.rest[..MAX_TEXT];
        let whole = self.redactor.cut(window, MAX_TEXT).unwrap_or(MAX_TEXT);
        let is_start = |at: &usize| self.rest.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
        let start = (whole.saturating_sub(3)..=whole).rev().find(is_start).unwrap_or(whole);
        let at = self.redactor.cut(window, start).unwrap_or(whole);
        let rest = self.rest.split_off(at);
        let text = self.take();
        self.rest = rest;
        text
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

/// Writes everything that comes from `pipe` to `sink`, until its end.
pub async fn pump(mut pipe: impl AsyncRead + Unpin, stream: &'static str, sink: Sink) {
    let mut cutter = Cutter { redactor: sink.redactor(), ..Cutter::default() };
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
    use crate::supervise::environment::Environment;
    use crate::supervise::token::Token;
    use proptest::prelude::*;

    #[test]
    fn any_bytes_become_lines() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.push(b"a\r\nb"), ["a"]);
        assert_eq!(cutter.push(b"c\n\n"), ["bc", ""]);
        assert_eq!(cutter.push(b"\xff\xfe\n"), ["\u{fffd}\u{fffd}"]);
        let lines = cutter.push(&vec![b'x'; MAX_TEXT + 10]);
        assert_eq!((lines.len(), lines[0].len(), cutter.rest.len()), (1, MAX_TEXT, 10));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            lengths in prop::collection::vec((0_usize..200_000, any::<bool>()), 1..4),
            cuts in prop::collection::vec(1_usize..70_000, 0..12),
        ) {
            let token = Token::from("0123456789abcdef");
            let redactor = Redactor::new(&token, &Environment::default());
            let mut bytes = Vec::new();
            for (length, ended) in lengths {
                let start = bytes.len();
                while bytes.len() < start + length {
                    bytes.extend_from_slice(b"-0123456789abcdef-");
                    bytes.extend_from_slice("\u{20ac}".as_bytes());
                }
                if ended {
                    bytes.extend_from_slice(b"\r\n");
                }
            }
            let all = |chunks: Vec<&[u8]>| {
                let mut cutter = Cutter { redactor: redactor.clone(), ..Cutter::default() };
                let mut lines: Vec<String> = chunks.into_iter().flat_map(|chunk| cutter.push(chunk)).collect();
                lines.push(cutter.take());
                lines
            };
            let whole = all(vec![&bytes]);
            let mut rest = bytes.as_slice();
            let mut chunks = Vec::new();
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            prop_assert_eq!(&whole, &all(chunks));
            prop_assert_eq!(whole.concat().len(), bytes.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count());
            for line in &whole {
                prop_assert!(line.len() <= MAX_TEXT);
                prop_assert!(!line.contains(char::REPLACEMENT_CHARACTER), "a character in two pieces");
                let shown = redactor.redact(line);
                prop_assert!(!shown.contains("9a") && !shown.contains("-01"), "a token in two pieces");
            }
        }
    }

    #[test]
    fn what_is_hidden_is_neither_kept_nor_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.log");
        let sink = Sink::open(path.clone(), "c").expect("opens");
        sink.hide(&Redactor::new(&Token::from("0123456789abcdef"), &Environment::default()));
        sink.write("stderr", &["the token 0123456789abcdef!"]);
        let kept = fs_err::read_to_string(path).expect("read");
        assert!(kept.contains("the token [redacted token]!"), "{kept}");
        assert_eq!(sink.recent(), ["the token [redacted token]!"]);
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
