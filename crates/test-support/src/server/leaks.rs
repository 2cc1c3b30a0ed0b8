//! What a platform has left behind: processes, sockets, files.
//!
//! A process is the platform's if its environment names the home, if it works in a directory of the test, if it is a
//! descendant of one that is, or if a scripted component wrote it down. What was seen once is remembered with its start time: a
//! process that has lost every mark meanwhile is found all the same.

use fs2::FileExt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use stigmer::platform;

/// What stays in `run/` when nothing runs, as `docs/server.md` has it.
const STAYS_IN_RUN: [&str; 2] = ["token", "last-end.json"];

/// Processes and sockets that were seen, and where to look for more.
#[derive(Debug)]
pub struct Leaks {
    /// The directory of the test: the home, and all that belongs to it.
    dir: PathBuf,
    home: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Process ids, each with the start time.
    processes: BTreeSet<(u32, u64)>,
    /// Inodes of sockets that were listened on.
    listeners: BTreeSet<u64>,
}

impl Leaks {
    /// Watches the test's directory `dir` and the home in it.
    pub fn new(dir: &Path, home: &Path) -> Self {
        // As the kernel will name it.
        let dir = dir.canonicalize().expect("the directory exists");
        Self { dir, home: home.to_owned(), seen: Mutex::default() }
    }

    /// Where a scripted component writes down the processes it is and starts, as `PID STARTED`.
    pub fn list(dir: &Path) -> PathBuf {
        dir.join("pids")
    }

    /// The living processes of the platform, and remembers them and what they listen on.
    pub fn processes(&self) -> Vec<u32> {
        let own = std::process::id();
        let table = Process::all();
        let mut ours: BTreeSet<u32> = table
            .values()
            .filter(|process| process.pid != own && self.is_marked(process.pid))
            .map(|process| process.pid)
            .collect();
        loop {
            let more: Vec<u32> = table
                .values()
                .filter(|process| ours.contains(&process.parent) && !ours.contains(&process.pid))
                .map(|process| process.pid)
                .collect();
            if more.is_empty() {
                break;
            }
            ours.extend(more);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.processes.extend(ours.iter().map(|pid| (*pid, table[pid].started)));
        seen.processes.extend(self.written_down());
        let sockets: BTreeSet<u64> = ours.iter().flat_map(|pid| sockets_of(*pid)).collect();
        seen.listeners.extend(sockets.intersection(&listening()));
        let mut living: Vec<u32> = seen
            .processes
            .iter()
            .filter(|(pid, started)| platform::process_started(*pid) == Some(*started))
            .map(|(pid, _)| *pid)
            .collect();
        living.dedup();
        living
    }

    fn is_marked(&self, pid: u32) -> bool {
        let mark = format!("STIGMER_HOME={}", self.home.display()).into_bytes();
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|word| word == mark)
            || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir))
    }

    fn written_down(&self) -> Vec<(u32, u64)> {
        let list = std::fs::read_to_string(Self::list(&self.dir)).unwrap_or_default();
        list.lines()
            .map(|line| {
                let (pid, started) = line.split_once(' ').expect("an id and a time");
                (pid.parse().expect("a number"), started.parse().expect("a number"))
            })
            .collect()
    }

    /// The living among those that were written down.
    pub fn escaped(&self) -> Vec<u32> {
        let list = self.written_down().into_iter();
        list.filter(|(pid, started)| platform::process_started(*pid) == Some(*started))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// The sockets that were listened on and still are.
    pub fn open_listeners(&self) -> Vec<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        listening().intersection(&seen.listeners).copied().collect()
    }

    /// Fails unless nothing is left but what is documented to stay.
    #[track_caller]
    pub fn assert_none(&self) {
        let left: Vec<String> = self.processes().into_iter().map(describe).collect();
        assert!(left.is_empty(), "processes are left: {left:#?}");
        let open = self.open_listeners();
        assert!(open.is_empty(), "somebody listens on sockets of the platform: {open:?}");
        let files = surplus(&self.home);
        assert!(files.is_empty(), "files are left: {files:#?}");
        let temporary: Vec<PathBuf> = below(&self.dir.join("tmp"));
        assert!(temporary.is_empty(), "temporary files are left: {temporary:#?}");
    }
}

/// What is in a home that should not be there when nothing runs.
fn surplus(home: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in below(home) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let in_run = path.parent() == Some(&home.join("run"));
        let is_lock = ["lock", "lease"].iter().any(|end| path.extension().is_some_and(|is| is == *end));
        if in_run && !STAYS_IN_RUN.contains(&name) {
            found.push(format!("{}: nothing runs that could need it", path.display()));
        } else if name.starts_with('.') {
            found.push(format!("{}: half made, and nobody will remove it", path.display()));
        } else if is_lock && is_held(&path) {
            found.push(format!("{}: still held", path.display()));
        }
    }
    found
}

fn is_held(path: &Path) -> bool {
    let file = std::fs::File::open(path).expect("opened");
    let held = file.try_lock_exclusive().is_err();
    if !held {
        FileExt::unlock(&file).expect("unlocked");
    }
    held
}

/// Everything below `dir`; links are not followed.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn describe(pid: u32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let state = Process::read(pid).map_or('?', |process| process.state);
    format!("{pid} ({state}): {}", String::from_utf8_lossy(&words).replace('\0', " "))
}

/// A line of the table of processes.
#[derive(Debug)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Process id of the parent.
    pub parent: u32,
    /// State as in `/proc/PID/stat`.
    pub state: char,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// All that live. Listed until nobody new is there: one that starts its successor and ends while others are read is
    /// not to be missed.
    pub fn all() -> BTreeMap<u32, Self> {
        let mut seen = BTreeSet::new();
        let mut all = BTreeMap::new();
        for _ in 0..20 {
            let entries = fs_err::read_dir("/proc").expect("listed").flatten();
            let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let fresh: Vec<u32> = pids.filter(|pid| seen.insert(*pid)).collect();
            if fresh.is_empty() {
                break;
            }
            let rows = fresh.into_iter().filter_map(Self::read);
            let living = rows.filter(|process| !matches!(process.state, 'Z' | 'X'));
            all.extend(living.map(|process| (process.pid, process)));
        }
        all
    }

    /// Reads the line of one process, if it exists.
    pub fn read(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            state: fields.first()?.chars().next()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The inodes of the sockets that a process holds.
fn sockets_of(pid: u32) -> BTreeSet<u64> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| {
            let link = std::fs::read_link(fd.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// The inodes of all sockets of this machine that somebody listens on. An inode is not used again, as a port is.
fn listening() -> BTreeSet<u64> {
    let table = |file: &str, inode: usize, state: (usize, &str)| -> Vec<u64> {
        let text = std::fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.get(state.0) == Some(&state.1))
            .filter_map(|fields| fields.get(inode)?.parse().ok())
            .collect()
    };
    // 0A is the state of listening, 00010000 the flag for it.
    [table("tcp", 9, (3, "0A")), table("tcp6", 9, (3, "0A")), table("unix", 6, (3, "00010000"))]
        .into_iter()
        .flatten()
        .collect()
}
