//! The log of one component as one run of lines, over its rotated files, from any place on, and further as it grows.
//!
//! All files are opened before one is read, from the newest to the oldest: a rotation in the midst of it then shows a file
//! twice, which is noticed by its identity, and hides none. An open file stays what it is, whatever it is called by now.

use super::{Line, ROTATED_FILES, is_time, rotated};
use crate::platform::{self, FileIdentity};
use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much is read at once.
const BLOCK: u64 = 64 * 1024;

/// A line of a file that is longer than any of ours can be is given in pieces.
const LONGEST: usize = 1024 * 1024;

/// The component that a log belongs to, and what of it was not read yet.
#[derive(Debug)]
pub struct Source {
    component: String,
    path: PathBuf,
    /// Oldest first; the last one is the file that is written to.
    parts: VecDeque<Part>,
    /// What was read and not given yet, from `given` on.
    buffer: Vec<u8>,
    given: usize,
    /// Up to where the buffer is known to hold no end of a line.
    searched: usize,
    /// The greatest time so far. A clock that was set back does not change the order of a file.
    time: String,
}

/// A file, and the stretch of it that is to be read.
#[derive(Debug)]
struct Part {
    file: fs_err::File,
    identity: FileIdentity,
    at: u64,
    end: u64,
}

impl Part {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match fs_err::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let identity = platform::file_identity(file.file())?;
        let end = file.metadata()?.len();
        Ok(Some(Self { file, identity, at: 0, end }))
    }

    fn read(&mut self, at: u64, length: u64, into: &mut Vec<u8>) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(at))?;
        Ok((&mut self.file).take(length).read_to_end(into)? as u64)
    }
}

impl Source {
    /// The log of `component` in the file `path` and those it was rotated into, from its beginning to its present end.
    ///
    /// # Errors
    /// A file exists and cannot be read.
    pub fn open(component: &str, path: &Path) -> io::Result<Self> {
        let mut parts = VecDeque::<Part>::new();
        for age in 0..=ROTATED_FILES {
            if let Some(part) = Part::open(&rotated(path, age))?
                && parts.iter().all(|known| known.identity != part.identity)
            {
                parts.push_front(part);
            }
        }
        Ok(Self {
            component: component.to_owned(),
            path: path.to_owned(),
            parts,
            buffer: Vec::new(),
            given: 0,
            searched: 0,
            time: String::new(),
        })
    }

    /// Passes over all but the last `count` lines, and gives how many are left. To be called before the first line is taken.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn keep_last(&mut self, count: usize) -> io::Result<usize> {
        let mut found = 0;
        for index in (0..self.parts.len()).rev() {
            let part = &mut self.parts[index];
            let mut end = part.end;
            // An end of a line ends the line before it; bytes at the end of a file that have none are a line too.
            let mut block = Vec::new();
            if end > 0 && part.read(end - 1, 1, &mut block)? == 1 && block != b"\n" && count > 0 {
                found += 1;
            }
            while end > 0 {
                let start = end.saturating_sub(BLOCK);
                block.clear();
                part.read(start, end - start, &mut block)?;
                for at in memchr::memrchr_iter(b'\n', &block) {
                    if found == count {
                        part.at = start + at as u64 + 1;
                        self.time = self.time_before(index)?;
                        self.parts.drain(..index);
                        return Ok(found);
                    }
                    found += 1;
                }
                end = start;
            }
        }
        Ok(found)
    }

    /// The time of the last line of ours before the place where the part `index` begins, unless that is far away: what follows may be
    /// lines without a time of their own.
    fn time_before(&mut self, index: usize) -> io::Result<String> {
        let (part, at) = match self.parts[index].at {
            0 if index > 0 => (index - 1, self.parts[index - 1].end),
            at => (index, at),
        };
        let start = at.saturating_sub(BLOCK);
        let mut block = Vec::new();
        self.parts[part].read(start, at - start, &mut block)?;
        let mut lines = block.rsplit(|byte| *byte == b'\n');
        Ok(lines.find_map(parse).map(|line| line.time).unwrap_or_default())
    }

    /// Passes over the files that were written to for the last time before `time`. What is left may still begin with older lines.
    pub fn pass_over_files_before(&mut self, time: std::time::SystemTime) {
        while self.parts.len() > 1
            && let Some(oldest) = self.parts.front()
            && oldest.file.metadata().and_then(|meta| meta.modified()).is_ok_and(|modified| modified < time)
        {
            self.parts.pop_front();
        }
    }

    /// The next line with the time it is sorted by, up to the end as it was when last looked at; `None` there. With `torn`
    /// also what stands at that end without an end of its line.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next(&mut self, torn: bool) -> io::Result<Option<Line>> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let end = self.searched + length;
                return Ok(Some(self.give(end, end + 1)));
            }
            self.searched = self.buffer.len();
            if self.searched - self.given >= LONGEST {
                return Ok(Some(self.give(self.given + LONGEST, self.given + LONGEST)));
            }
            self.buffer.drain(..self.given);
            self.given = 0;
            self.searched = self.buffer.len();
            let Some(part) = self.parts.front_mut() else {
                return Ok(None);
            };
            let length = part.end.saturating_sub(part.at).min(BLOCK);
            if length > 0 {
                let got = part.read(part.at, length, &mut self.buffer)?;
                part.at += got;
                if got == 0 {
                    // Somebody emptied it.
                    part.end = part.at;
                }
                continue;
            }
            let is_last = self.parts.len() == 1;
            if !is_last {
                self.parts.pop_front();
            }
            if !self.buffer.is_empty() && (!is_last || torn) {
                let end = self.buffer.len();
                return Ok(Some(self.give(end, end)));
            }
            if is_last {
                return Ok(None);
            }
        }
    }

    /// Looks at how far the log goes by now, over rotations. Gives `false` if it was rotated so often that the file last read is
    /// gone: then something is missing between what was given and what will be.
    ///
    /// # Errors
    /// A file exists and cannot be read.
    pub fn look_again(&mut self) -> io::Result<bool> {
        let Some(last) = self.parts.back_mut() else {
            *self = Self { time: std::mem::take(&mut self.time), ..Self::open(&self.component, &self.path)? };
            // There was none before. If there are as many files now as are ever kept, there may have been more.
            return Ok(self.parts.len() <= ROTATED_FILES);
        };
        let length = last.file.metadata()?.len();
        if length < last.at {
            // Emptied, and written to again.
            last.at = 0;
            self.buffer.clear();
            (self.given, self.searched) = (0, 0);
        }
        last.end = length;
        let read = last.identity;
        let mut newer = Vec::<Part>::new();
        for age in 0..=ROTATED_FILES {
            match Part::open(&rotated(&self.path, age))? {
                Some(part) if part.identity == read => {
                    // It may have grown between the look above and its rotation.
                    if let Some(last) = self.parts.back_mut() {
                        last.end = part.end;
                    }
                    newer.dedup_by_key(|part| part.identity);
                    self.parts.extend(newer.into_iter().rev());
                    return Ok(true);
                }
                // The next one can be the same one, if another rotation has moved it on while we looked.
                Some(part) => newer.push(part),
                // Between two steps of a rotation, or removed.
                None => {}
            }
        }
        // Removed, or rotated away. What is older than the file that is written to now was read, or is lost.
        if let Some(part) = Part::open(&self.path)? {
            let is_new = part.identity != read;
            self.parts.push_back(part);
            return Ok(!is_new);
        }
        Ok(true)
    }

    fn give(&mut self, end: usize, next: usize) -> Line {
        let line = self.line(&self.buffer[self.given..end]);
        (self.given, self.searched) = (next, next);
        if line.time > self.time {
            self.time.clone_from(&line.time);
        }
        line
    }

    fn line(&self, bytes: &[u8]) -> Line {
        // What is not one of ours is shown as it is, with the time of the line before it.
        parse(bytes).unwrap_or_else(|| Line {
            time: self.time.clone(),
            component: self.component.clone(),
            stream: "raw".to_owned(),
            text: String::from_utf8_lossy(bytes).into_owned(),
        })
    }

    /// Whose log it is.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// The time that the line given last is sorted by.
    pub fn time(&self) -> &str {
        &self.time
    }
}

/// The line, if it is one of ours.
fn parse(bytes: &[u8]) -> Option<Line> {
    serde_json::from_slice::<Line>(bytes).ok().filter(|line| is_time(line.time.as_bytes()))
}
