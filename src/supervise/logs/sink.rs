//! The writing end: lines of a component into its file, which is rotated before it grows too long.
//!
//! A log that cannot be written must harm nobody, least of all what it is the log of: nothing here returns an error. Lines that
//! were lost are counted, and said as soon as something can be written again.
//!
//! Killed between any two steps, this leaves at worst a gap in the numbers of the files and a line without an end;
//! readers pass over the one, and the next writer ends the other.

use super::{Line, ROTATED_FILES, rotated};
use crate::platform::{self, FileIdentity};
use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stigmer_protocol::component::shortened;
use stigmer_protocol::redact::Redactor;
use stigmer_protocol::time::now;

/// A file longer than this is rotated.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// How many of the last lines are kept at hand, for the message of a failed start.
const RECENT: usize = 20;

/// A component's log, shared by everything that writes to it.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    component: String,
    file: Option<(fs_err::File, FileIdentity)>,
    size: u64,
    limit: u64,
    recent: VecDeque<String>,
    redactor: Redactor,
    /// How many lines could not be written, and why the last of them could not.
    lost: u64,
    why: String,
}

impl Sink {
    /// The log of `component` in the file `path`, which is appended to.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: PathBuf, component: &str) -> io::Result<Self> {
        let mut state = State {
            path,
            component: component.to_owned(),
            file: None,
            size: 0,
            limit: MAX_FILE,
            recent: VecDeque::new(),
            redactor: Redactor::default(),
            lost: 0,
            why: String::new(),
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

    /// Writes lines that came on `stream`.
    pub fn write<T: AsRef<str>>(&self, stream: &str, texts: &[T]) {
        if !texts.is_empty() {
            self.lock().write(stream, texts);
        }
    }

    /// Says something that happened to the component.
    pub fn event(&self, text: &str) {
        self.write("event", &[text]);
    }

    /// The last lines that the component itself wrote, as much of each as fits into a message.
    pub fn recent(&self) -> Vec<String> {
        self.lock().recent.iter().cloned().collect()
    }

    /// Forgets the last lines: they belong to a process that is gone.
    pub fn forget_recent(&self) {
        self.lock().recent.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that a writer panicked; the state is only a file and its length.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Opens the file at its end, in a directory that somebody may have removed, behind a line that somebody may not have ended.
    fn reopen(&mut self) -> io::Result<()> {
        let open = || fs_err::OpenOptions::new().create(true).read(true).append(true).open(&self.path);
        let mut file = match (open(), self.path.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                // Only this one: if the home itself is gone, it is not for a log to bring it back.
                fs_err::create_dir(parent)?;
                open()?
            }
            (other, _) => other?,
        };
        self.size = file.metadata()?.len();
        if self.size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::Start(self.size - 1))?;
            if file.read(&mut last)? == 1 && last != *b"\n" {
                file.write_all(b"\n")?;
                self.size += 1;
            }
        }
        let identity = platform::file_identity(file.file())?;
        self.file = Some((file, identity));
        Ok(())
    }

    fn write<T: AsRef<str>>(&mut self, stream: &str, texts: &[T]) {
        let time = now();
        let mut block = Vec::new();
        for text in texts {
            let text = self.redactor.redact(text.as_ref()).into_owned();
            if stream != "event" {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(shortened(&text).into_owned());
            }
            self.line(&mut block, &time, stream, text);
        }
        match self.put(&time, &block) {
            Ok(()) => self.lost = 0,
            Err(error) => {
                self.lost += texts.len() as u64;
                self.why = error.to_string();
                // Whatever it is, a part of a line may have been written: the next one to be written begins with a look.
                self.file = None;
            }
        }
    }

    fn line(&self, block: &mut Vec<u8>, time: &str, stream: &str, text: String) {
        let line = Line {
            time: time.to_owned(),
            component: self.component.clone(),
            stream: stream.to_owned(),
            text,
        };
        if serde_json::to_writer(&mut *block, &line).is_ok() {
            block.push(b'\n');
        }
    }

    /// Writes `block`, and before it what has to be said about the log itself.
    fn put(&mut self, time: &str, block: &[u8]) -> io::Result<()> {
        // If it was removed, nobody would ever read what is written to it.
        let is_gone = |known: &FileIdentity| platform::identity_of(&self.path).ok().as_ref() != Some(known);
        if self.file.as_ref().is_none_or(|(_, known)| is_gone(known)) {
            self.file = None;
            self.reopen()?;
        }
        let mut said = Vec::new();
        if self.size.saturating_add(block.len() as u64) > self.limit
            && self.size > 0
            && let Some(trouble) = self.rotate()?
        {
            self.line(
                &mut said,
                time,
                "event",
                format!("the log cannot be rotated, and begins anew: {trouble}"),
            );
        }
        if self.lost > 0 {
            let lines = if self.lost == 1 { "line was" } else { "lines were" };
            self.line(&mut said, time, "event", format!("{} {lines} lost: {}", self.lost, self.why));
        }
        said.extend_from_slice(block);
        if let Some((file, _)) = &mut self.file {
            file.write_all(&said)?;
            self.size += said.len() as u64;
        }
        Ok(())
    }

    /// Makes room. If no file may be renamed here, what there is goes: the log has a bound in any case. Says why.
    fn rotate(&mut self) -> io::Result<Option<io::Error>> {
        self.file = None;
        let mut outcome = Ok(());
        for age in (0..ROTATED_FILES).rev() {
            // A gap in the series is no error.
            outcome = match std::fs::rename(rotated(&self.path, age), rotated(&self.path, age + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
        }
        self.reopen()?;
        let (Err(trouble), Some((file, _))) = (outcome, &self.file) else {
            return Ok(None);
        };
        file.set_len(0)?;
        self.size = 0;
        Ok(Some(trouble))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stigmer_protocol::environment::Environment;
    use stigmer_protocol::token::Token;

    /// A log of its own, whose files may have `limit` bytes.
    fn sink(limit: u64) -> (tempfile::TempDir, PathBuf, Sink) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logs").join("c.log");
        let sink = Sink::open(path.clone(), "c").expect("opens");
        sink.lock().limit = limit;
        (dir, path, sink)
    }

    fn texts(path: &std::path::Path) -> Vec<String> {
        let files = [("c".to_owned(), path.to_owned())];
        super::super::tail(&files, 1000).expect("read").into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn what_is_hidden_is_neither_kept_nor_told() {
        let (_dir, path, sink) = sink(MAX_FILE);
        sink.hide(&Redactor::new(&Token::from("0123456789abcdef"), &Environment::default()));
        sink.write("stderr", &["the token 0123456789abcdef!"]);
        let kept = fs_err::read_to_string(path).expect("read");
        assert!(kept.contains("the token [redacted token]!"), "{kept}");
        assert_eq!(sink.recent(), ["the token [redacted token]!"]);
    }

    #[test]
    fn a_log_is_bounded_and_nothing_before_the_oldest_file_is_lost() {
        let (_dir, path, sink) = sink(1000);
        for number in 0..100 {
            sink.write("stderr", &[format!("line {number}")]);
        }
        let files = fs_err::read_dir(path.parent().expect("a directory")).expect("lists").count();
        assert_eq!(files, ROTATED_FILES + 1);
        for age in 0..=ROTATED_FILES {
            let size = fs_err::metadata(rotated(&path, age)).expect("exists").len();
            assert!(size <= 1000, "{size}");
        }
        assert_eq!(sink.recent().len(), RECENT);
        assert_eq!(sink.recent().last().map(String::as_str), Some("line 99"));
    }

    #[test]
    fn a_log_that_cannot_be_written_harms_nobody_and_says_later_what_was_lost() {
        let (dir, path, sink) = sink(MAX_FILE);
        sink.event("before");
        // Something that is no directory stands in the place of the logs.
        fs_err::remove_dir_all(dir.path().join("logs")).expect("removed");
        fs_err::write(dir.path().join("logs"), "").expect("written");
        sink.event("one");
        sink.write("stderr", &["two", "three"]);
        fs_err::remove_file(dir.path().join("logs")).expect("removed");
        sink.event("after");
        let texts = texts(&path);
        assert!(texts[0].starts_with("3 lines were lost: ") && texts[0].contains("c.log"), "{texts:?}");
        assert_eq!(texts[1..], ["after"]);
        sink.event("again");
        assert_eq!(self::texts(&path).len(), 3, "it is said once");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_and_is_named() {
        let (dir, path, sink) = sink(MAX_FILE);
        fs_err::remove_file(&path).expect("removed");
        platform::symlink(std::path::Path::new("/dev/full"), &path).expect("made");
        sink.event("one");
        fs_err::remove_file(&path).expect("removed");
        sink.event("two");
        let texts = texts(&path);
        assert!(texts[0].starts_with("1 line was lost: ") && texts[0].contains("No space"), "{texts:?}");
        assert_eq!(texts[1..], ["two"]);
        drop(dir);
    }

    #[test]
    fn a_log_that_was_removed_begins_anew() {
        let (_dir, path, sink) = sink(MAX_FILE);
        sink.event("one");
        fs_err::remove_file(&path).expect("removed");
        sink.event("two");
        assert_eq!(texts(&path), ["two"]);
    }

    #[test]
    fn a_log_has_its_bound_also_where_nothing_can_be_renamed() {
        let (_dir, path, sink) = sink(1000);
        for age in 1..=ROTATED_FILES {
            fs_err::create_dir_all(rotated(&path, age).join("in the way")).expect("made");
        }
        for number in 0..100 {
            sink.event(&format!("line {number}"));
            assert!(fs_err::metadata(&path).expect("exists").len() <= 1300);
        }
        let only = [("c".to_owned(), path)];
        for age in 1..=ROTATED_FILES {
            fs_err::remove_dir_all(rotated(&only[0].1, age)).expect("removed");
        }
        let lines = super::super::tail(&only, 1000).expect("read");
        assert!(lines[0].text.contains("cannot be rotated"), "{lines:?}");
        assert_eq!(lines.last().expect("some").text, "line 99");
    }

    #[test]
    fn a_writer_killed_at_any_point_of_a_rotation_costs_no_line() {
        for steps in 0..=ROTATED_FILES + 1 {
            let (_dir, path, sink) = sink(1000);
            for number in 0..25 {
                sink.event(&format!("line {number}"));
            }
            let before = texts(&path);
            drop(sink);
            // What `rotate` does, as far as it came; the new file may not have been made.
            for age in (0..ROTATED_FILES).rev().take(steps) {
                if rotated(&path, age).exists() {
                    fs_err::rename(rotated(&path, age), rotated(&path, age + 1)).expect("renamed");
                }
            }
            if steps > ROTATED_FILES {
                fs_err::write(&path, "{\"time\":\"20").expect("a line that was begun");
            }
            let again = Sink::open(path.clone(), "c").expect("opens");
            again.event("line 25");
            let mut after = texts(&path);
            after.retain(|text| text.starts_with("line "));
            assert_eq!(after.last().map(String::as_str), Some("line 25"), "{steps}");
            after.pop();
            // The oldest file goes with any rotation.
            assert!(
                before.ends_with(&after) && after.len() + 8 >= before.len(),
                "{steps}: {before:?} {after:?}"
            );
        }
    }
}
