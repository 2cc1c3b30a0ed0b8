//! The logs of several components as one, in the order of time, one line at a time: how much there is makes no difference to the
//! memory it takes.
//!
//! Within a component the order of its file holds. So a line is sorted by its effective time, the greatest so far in
//! its component: after a clock was set back, lines wait for nothing and overtake nothing of their own.

use super::Line;
use super::source::Source;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

/// What happens to bytes at the end of a log that do not end their line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// They are shown: nobody waits for the rest.
    Shown,
    /// The rest may come.
    Kept,
}

/// The logs of several components.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<(Source, Option<Head>)>,
    skip: usize,
}

/// The next line of a source, and the time it is sorted by.
#[derive(Debug)]
struct Head {
    time: String,
    line: Line,
}

impl Merge {
    /// All lines there are now of the logs `files`, each with the name of its component.
    ///
    /// # Errors
    /// A log exists and cannot be read.
    pub fn open(files: &[(String, PathBuf)]) -> io::Result<Self> {
        let open = |(name, path): &(String, PathBuf)| Ok((Source::open(name, path)?, None));
        Ok(Self { sources: files.iter().map(open).collect::<io::Result<_>>()?, skip: 0 })
    }

    /// Only the last `count` lines of all together.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn keep_last(&mut self, count: usize) -> io::Result<()> {
        let mut all = 0_usize;
        for (source, _) in &mut self.sources {
            all = all.saturating_add(source.keep_last(count)?);
        }
        // None of the last lines of all is missing in the last ones of each.
        self.skip = all.saturating_sub(count);
        Ok(())
    }

    /// Only lines of the moment `time` or later. If of these only the last `count` are wanted, they are given here.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn keep_since(&mut self, time: SystemTime, count: Option<usize>) -> io::Result<VecDeque<Line>> {
        let text = humantime::format_rfc3339_millis(time).to_string();
        for (source, head) in &mut self.sources {
            source.pass_over_files_before(time);
            while let Some(next) = take(source, Torn::Kept)? {
                if next.time >= text {
                    *head = Some(next);
                    break;
                }
            }
        }
        let mut last = VecDeque::new();
        if let Some(count) = count {
            while let Some(line) = self.next(Torn::Kept)? {
                last.push_back(line);
                if last.len() > count {
                    last.pop_front();
                }
            }
        }
        Ok(last)
    }

    /// The next line, up to the ends of the logs as they were when last looked at.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn next(&mut self, torn: Torn) -> io::Result<Option<Line>> {
        loop {
            for (source, head) in &mut self.sources {
                if head.is_none() {
                    *head = take(source, torn)?;
                }
            }
            let time = |index: &usize| self.sources[*index].1.as_ref().map(|head| head.time.as_str());
            let heads = (0..self.sources.len()).filter(|index| time(index).is_some());
            // Of equals the first, so components keep their order too.
            let Some(first) = heads.min_by(|a, b| time(a).cmp(&time(b))) else {
                return Ok(None);
            };
            let Some(line) = self.sources[first].1.take().map(|head| head.line) else {
                return Ok(None);
            };
            if self.skip == 0 {
                return Ok(Some(line));
            }
            self.skip -= 1;
        }
    }

    /// Looks at how far the logs go by now. Gives the names of those in which something is missing before what comes next.
    ///
    /// # Errors
    /// A log exists and cannot be read.
    pub fn look_again(&mut self) -> io::Result<Vec<String>> {
        // What was to be passed over was there at the beginning.
        self.skip = 0;
        let mut gaps = Vec::new();
        for (source, _) in &mut self.sources {
            if !source.look_again()? {
                gaps.push(source.component().to_owned());
            }
        }
        Ok(gaps)
    }
}

fn take(source: &mut Source, torn: Torn) -> io::Result<Option<Head>> {
    let line = source.next(torn == Torn::Shown)?;
    Ok(line.map(|line| Head { time: source.time().to_owned(), line }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::logs::{ROTATED_FILES, rotated};
    use proptest::prelude::*;
    use std::io::Write;
    use std::path::Path;
    use std::time::Duration;

    /// What happens to a log.
    #[derive(Debug, Clone)]
    enum Step {
        /// A line is added, so many milliseconds after or before the one before it; not one of ours, if that is `None`.
        Add(usize, Option<i32>),
        Rotate(usize),
        Read,
    }

    fn step(earliest: i32) -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..3_usize, (earliest..5).prop_map(Some)).prop_map(|(log, delta)| Step::Add(log, delta)),
            1 => (0..3_usize).prop_map(|log| Step::Add(log, None)),
            1 => (0..3_usize).prop_map(Step::Rotate),
            2 => Just(Step::Read),
        ]
    }

    /// Some logs, and what a reader of them should see.
    struct World {
        _dir: tempfile::TempDir,
        files: Vec<(String, PathBuf)>,
        clock: i32,
        count: usize,
        /// For each log its files, oldest first; of each line the effective time and the text.
        model: Vec<Vec<Vec<(String, String)>>>,
    }

    fn time(clock: i32) -> String {
        let since =
            Duration::from_millis(1_600_000_000_000 + u64::try_from(clock).expect("after the beginning"));
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let file = |name: &str| (name.to_owned(), dir.path().join(format!("{name}.log")));
            let files = ["a", "b", "c"].map(file).to_vec();
            Self { _dir: dir, files, clock: 1000, count: 0, model: vec![vec![Vec::new()]; 3] }
        }

        fn add(&mut self, log: usize, delta: Option<i32>) -> String {
            self.count += 1;
            let text = format!("line {}", self.count);
            let (component, path) = &self.files[log];
            let last = self.model[log]
                .iter()
                .flatten()
                .next_back()
                .map(|(time, _)| time.clone())
                .unwrap_or_default();
            let (line, effective) = match delta {
                None => (text.clone(), last),
                Some(delta) => {
                    self.clock = (self.clock + delta).max(0);
                    let line = Line {
                        time: time(self.clock),
                        component: component.clone(),
                        stream: "stderr".to_owned(),
                        text: text.clone(),
                    };
                    (serde_json::to_string(&line).expect("serializes"), last.max(line.time))
                }
            };
            append(path, &format!("{line}\n"));
            self.model[log].last_mut().expect("a file").push((effective, text.clone()));
            text
        }

        fn rotate(&mut self, log: usize) {
            let path = &self.files[log].1;
            for age in (0..ROTATED_FILES).rev() {
                let _ = std::fs::rename(rotated(path, age), rotated(path, age + 1));
            }
            append(path, "");
            self.model[log].push(Vec::new());
            let surplus = self.model[log].len().saturating_sub(ROTATED_FILES + 1);
            self.model[log].drain(..surplus);
        }

        /// All lines, sorted by their effective time as text: stable, so each log keeps its order.
        fn sorted(&self) -> Vec<String> {
            let mut all: Vec<_> = self.model.iter().flatten().flatten().cloned().collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all.into_iter().map(|(_, text)| text).collect()
        }
    }

    fn append(path: &Path, text: &str) {
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path).expect("opens");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rest(merge: &mut Merge, torn: Torn) -> Vec<String> {
        std::iter::from_fn(|| merge.next(torn).expect("read")).map(|line| line.text).collect()
    }

    proptest! {
        /// Whatever was written and rotated when: merging is the stable sort by effective time of what is still there.
        #[test]
        fn a_merge_is_a_sort(steps in prop::collection::vec(step(-3), 0..80)) {
            let mut world = World::new();
            for step in steps {
                match step {
                    Step::Add(log, delta) => drop(world.add(log, delta)),
                    Step::Rotate(log) => world.rotate(log),
                    Step::Read => {}
                }
            }
            // The effective time of what is left may come from a line that is not there any more.
            let merged = rest(&mut Merge::open(&world.files).expect("opens"), Torn::Shown);
            let mut sorted = world.sorted();
            if world.model.iter().all(|files| files.len() <= ROTATED_FILES) {
                prop_assert_eq!(&merged, &sorted);
            }
            let mut same = merged;
            same.sort();
            sorted.sort();
            prop_assert_eq!(same, sorted);
        }

        /// With a clock that goes forward, the last lines are the end of all lines.
        #[test]
        fn the_last_lines_are_the_end_of_all(steps in prop::collection::vec(step(0), 0..60), count in 0..70_usize) {
            let mut world = World::new();
            for log in 0..3 {
                world.add(log, Some(1));
            }
            for step in steps {
                match step {
                    Step::Add(log, delta) => drop(world.add(log, delta)),
                    Step::Rotate(log) => world.rotate(log),
                    Step::Read => {}
                }
            }
            let all = rest(&mut Merge::open(&world.files).expect("opens"), Torn::Shown);
            let mut merge = Merge::open(&world.files).expect("opens");
            merge.keep_last(count).expect("read");
            let last = rest(&mut merge, Torn::Shown);
            prop_assert_eq!(last.len(), count.min(all.len()));
            if world.model.iter().flatten().flatten().all(|(time, _)| !time.is_empty()) {
                prop_assert!(all.ends_with(&last), "{:?} {:?}", all, last);
            }
        }

        /// Who follows sees each line once and those of a log in their order, whatever is rotated between two looks;
        /// or is told that something is missing.
        #[test]
        fn who_follows_misses_nothing_unknowingly(steps in prop::collection::vec(step(-3), 0..80)) {
            let mut world = World::new();
            let mut merge = Merge::open(&world.files).expect("opens");
            let (mut seen, mut written, mut gaps) = (Vec::new(), Vec::new(), false);
            let mut rotations = [0; 3];
            for step in steps.into_iter().chain([Step::Read]) {
                match step {
                    Step::Add(log, delta) => written.push((log, world.add(log, delta))),
                    Step::Rotate(log) => {
                        world.rotate(log);
                        rotations[log] += 1;
                    }
                    Step::Read => {
                        let told = merge.look_again().expect("read");
                        // Only where it is true.
                        prop_assert!(told.is_empty() || rotations.iter().any(|count| *count >= ROTATED_FILES));
                        gaps |= !told.is_empty();
                        rotations = [0; 3];
                        seen.extend(rest(&mut merge, Torn::Kept));
                    }
                }
            }
            for log in 0..3 {
                let own: Vec<_> = written.iter().filter(|(of, _)| *of == log).map(|(_, text)| text).collect();
                let shown: Vec<_> = seen.iter().filter(|text| own.contains(text)).collect();
                let mut expected = own.clone();
                if gaps {
                    expected.retain(|text| shown.contains(text));
                }
                prop_assert_eq!(shown, expected);
            }
        }
    }

    #[test]
    fn since_a_moment() {
        let mut world = World::new();
        let moment = |clock: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_000 + clock);
        world.add(0, None);
        for _ in 0..5 {
            world.add(0, Some(10));
            world.add(1, Some(10));
        }
        world.rotate(0);
        world.add(0, Some(10));
        let since = |clock, count| {
            let mut merge = Merge::open(&world.files).expect("opens");
            let mut texts: Vec<_> = merge
                .keep_since(moment(clock), count)
                .expect("read")
                .into_iter()
                .map(|line| line.text)
                .collect();
            texts.extend(rest(&mut merge, Torn::Shown));
            texts
        };
        assert_eq!(since(1080, None), ["line 9", "line 10", "line 11", "line 12"].map(String::from));
        assert_eq!(since(1080, Some(2)), ["line 11", "line 12"].map(String::from));
        assert_eq!(since(1111, None), [""; 0]);
        assert_eq!(since(0, None).len(), 11, "whose time is not known is not counted");
    }

    #[test]
    fn a_file_that_was_last_written_before_is_not_even_read() {
        let mut world = World::new();
        world.add(0, Some(10));
        world.rotate(0);
        world.add(0, Some(10));
        let old = rotated(&world.files[0].1, 1);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        fs_err::OpenOptions::new()
            .write(true)
            .open(&old)
            .expect("opens")
            .set_modified(long_ago)
            .expect("set");
        let mut merge = Merge::open(&world.files).expect("opens");
        merge.keep_since(long_ago + Duration::from_secs(1), None).expect("read");
        assert_eq!(rest(&mut merge, Torn::Shown), ["line 2"]);
    }

    #[test]
    fn a_line_that_is_not_ended_is_kept_for_its_rest() {
        let world = World::new();
        let path = &world.files[0].1;
        append(path, "one\ntw");
        let mut merge = Merge::open(&world.files).expect("opens");
        assert_eq!(rest(&mut merge, Torn::Kept), ["one"]);
        append(path, "o\n");
        assert!(merge.look_again().expect("read").is_empty());
        assert_eq!(rest(&mut merge, Torn::Kept), ["two"]);
        append(path, "thr");
        assert_eq!(rest(&mut Merge::open(&world.files).expect("opens"), Torn::Shown), ["one", "two", "thr"]);
    }

    #[test]
    fn bytes_of_any_kind_and_length_are_lines() {
        let world = World::new();
        let path = &world.files[0].1;
        let wild = r#"{"time":"zzzz","component":"a","stream":"x","text":"no time"}"#;
        fs_err::write(
            path,
            [b"\xff\0\x1b\n".as_slice(), wild.as_bytes(), b"\n\n", &b"x".repeat(3_000_000)].concat(),
        )
        .expect("written");
        let mut merge = Merge::open(&world.files).expect("opens");
        let lines = rest(&mut merge, Torn::Shown);
        assert_eq!(lines[..3], ["\u{fffd}\0\u{1b}".to_owned(), wild.to_owned(), String::new()]);
        assert_eq!(lines[3..].iter().map(String::len).sum::<usize>(), 3_000_000);
        assert!(lines.iter().all(|line| line.len() <= 1024 * 1024));
    }

    #[test]
    fn a_log_that_was_emptied_or_removed_goes_on() {
        let mut world = World::new();
        world.add(0, Some(1));
        let mut merge = Merge::open(&world.files).expect("opens");
        rest(&mut merge, Torn::Kept);
        fs_err::write(&world.files[0].1, "").expect("emptied");
        assert!(merge.look_again().expect("read").is_empty());
        world.add(0, Some(1));
        merge.look_again().expect("read");
        assert_eq!(rest(&mut merge, Torn::Kept), ["line 2"]);
        fs_err::remove_file(&world.files[0].1).expect("removed");
        assert!(merge.look_again().expect("read").is_empty());
        world.add(0, Some(1));
        assert_eq!(merge.look_again().expect("read"), ["a"], "that something may be missing is said");
        assert_eq!(rest(&mut merge, Torn::Kept), ["line 3"]);
    }
}
