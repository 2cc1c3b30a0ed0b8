//! The reading end: the last lines of several logs, merged by time, and what is added to them from then on.

use super::{KEPT, Line, rotated};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much is read at once, from the end of a file backwards.
const BLOCK: u64 = 64 * 1024;

/// The last `count` lines of all `files` together, oldest first.
pub fn tail(files: &[(String, PathBuf)], count: usize) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (component, path) in files {
        lines.extend(tail_of(component, path, count)?);
    }
    // Stable: lines of one moment stay in the order of their file.
    lines.sort_by(|a, b| a.time.cmp(&b.time));
    let surplus = lines.len().saturating_sub(count);
    lines.drain(..surplus);
    Ok(lines)
}

/// The last `count` lines of one log, going back into its rotated files as far as needed.
fn tail_of(component: &str, path: &Path, count: usize) -> io::Result<Vec<Line>> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut found = 0;
    for age in 0..=KEPT {
        if found > count {
            break;
        }
        let mut file = match fs_err::File::open(rotated(path, age)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut end = file.metadata()?.len();
        while end > 0 && found <= count {
            let start = end.saturating_sub(BLOCK);
            file.seek(SeekFrom::Start(start))?;
            let mut block = Vec::new();
            (&mut file).take(end - start).read_to_end(&mut block)?;
            found += block.split(|byte| *byte == b'\n').count() - 1;
            blocks.push(block);
            end = start;
        }
    }
    blocks.reverse();
    let bytes = blocks.concat();
    let mut texts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if texts.last().is_some_and(|text| text.is_empty()) {
        texts.pop();
    }
    let mut parser = Parser::new(component);
    let skip = texts.len().saturating_sub(count);
    Ok(texts.into_iter().skip(skip).map(|text| parser.parse(text)).collect())
}

/// Makes lines of bytes. What is not ours (a panic written straight into the file, say) is shown as it is, with
/// the time of the line before it.
#[derive(Debug)]
struct Parser {
    component: String,
    time: String,
}

impl Parser {
    fn new(component: &str) -> Self {
        Self { component: component.to_owned(), time: String::new() }
    }

    fn parse(&mut self, bytes: &[u8]) -> Line {
        if let Ok(line) = serde_json::from_slice::<Line>(bytes) {
            self.time.clone_from(&line.time);
            return line;
        }
        Line {
            time: self.time.clone(),
            component: self.component.clone(),
            stream: "raw".to_owned(),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Reads what is added to some logs, over rotations and restarts.
#[derive(Debug)]
pub struct Follower {
    files: Vec<Followed>,
}

#[derive(Debug)]
struct Followed {
    path: PathBuf,
    file: Option<fs_err::File>,
    inode: u64,
    offset: u64,
    rest: Vec<u8>,
    parser: Parser,
}

impl Follower {
    /// Follows `files` from their ends.
    pub fn new(files: &[(String, PathBuf)]) -> Self {
        let files = files
            .iter()
            .map(|(component, path)| {
                let mut followed = Followed {
                    path: path.clone(),
                    file: None,
                    inode: 0,
                    offset: 0,
                    rest: Vec::new(),
                    parser: Parser::new(component),
                };
                followed.open();
                followed.offset =
                    followed.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
                followed
            })
            .collect();
        Self { files }
    }

    /// What was added since the last call, merged by time.
    pub fn poll(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.files.iter_mut().flat_map(Followed::poll).collect();
        lines.sort_by(|a, b| a.time.cmp(&b.time));
        lines
    }
}

impl Followed {
    fn open(&mut self) {
        self.file = fs_err::File::open(&self.path).ok();
        self.offset = 0;
        self.inode = self
            .file
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .map_or(0, |meta| crate::platform::evidence(&meta).inode);
    }

    fn poll(&mut self) -> Vec<Line> {
        let mut lines = self.read();
        // The old file is read to its end before the new one, so that a rotation loses nothing.
        let moved = std::fs::metadata(&self.path)
            .ok()
            .is_some_and(|meta| crate::platform::evidence(&meta).inode != self.inode);
        if moved || self.file.is_none() {
            self.open();
            lines.extend(self.read());
        }
        lines
    }

    fn read(&mut self) -> Vec<Line> {
        let Some(file) = &mut self.file else {
            return Vec::new();
        };
        if file.metadata().is_ok_and(|meta| meta.len() < self.offset) {
            self.offset = 0;
        }
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.offset)).is_err() || file.read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        self.offset += bytes.len() as u64;
        self.rest.extend_from_slice(&bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        whole[..end].split(|byte| *byte == b'\n').map(|text| self.parser.parse(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: u32, component: &str) -> String {
        format!(
            "{{\"time\":\"2026-01-01T00:00:{time:02}.000Z\",\"component\":\"{component}\",\"stream\":\"stderr\",\"text\":\"t{time}\"}}\n"
        )
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn logs_are_merged_by_time_and_reach_into_rotated_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a.log"), dir.path().join("b.log"));
        fs_err::write(rotated(&a, 1), line(1, "a") + &line(3, "a")).expect("written");
        fs_err::write(&a, line(5, "a")).expect("written");
        fs_err::write(&b, line(2, "b") + "not json\n" + &line(4, "b")).expect("written");
        let files = [("a".to_owned(), a), ("b".to_owned(), b), ("c".to_owned(), dir.path().join("none"))];
        let all = tail(&files, 50).expect("read");
        assert_eq!(texts(&all), ["t1", "t2", "not json", "t3", "t4", "t5"]);
        assert_eq!(texts(&tail(&files, 2).expect("read")), ["t4", "t5"]);
    }

    #[test]
    fn following_survives_a_rotation_and_a_line_in_two_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        fs_err::write(&path, line(1, "a")).expect("written");
        let mut follower = Follower::new(&[("a".to_owned(), path.clone())]);
        assert!(follower.poll().is_empty());
        let second = line(2, "a");
        let (head, rest) = second.split_at(20);
        fs_err::write(&path, line(1, "a") + head).expect("written");
        assert!(follower.poll().is_empty());
        fs_err::write(&path, line(1, "a") + head + rest + &line(3, "a")).expect("written");
        fs_err::rename(&path, rotated(&path, 1)).expect("rotated");
        fs_err::write(&path, line(4, "a")).expect("written");
        assert_eq!(texts(&follower.poll()), ["t2", "t3", "t4"]);
    }
}
