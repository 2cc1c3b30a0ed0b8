//! Whole trees of processes, on Linux and macOS: who is below whom, and the end of all of them.
//!
//! A process can leave its group, its session and its parent, but on Linux not the nearest *subreaper* above it: that
//! process inherits every orphan below itself. So whoever has none left below itself has left nothing behind. macOS
//! has no subreapers; there a tree is followed by parents and by the sessions that were begun inside it.

use super::{Ending, process_started, to_pid, wait_for_end};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, kill_process};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Whether orphans stay below the process that is to look after them.
const ORPHANS_STAY: bool = cfg!(target_os = "linux");

/// What the system says of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) session: u32,
    pub(super) started: u64,
    /// It has ended and waits to be reaped.
    pub(super) ended: bool,
}

/// One process in the system's table, by its id.
#[cfg(target_os = "linux")]
pub(super) fn row(pid: u32) -> Option<Row> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &stat)
}

/// Reads what `/proc/PID/stat` says, as proc(5) defines it.
#[cfg(target_os = "linux")]
fn parse_stat(pid: u32, stat: &[u8]) -> Option<Row> {
    // The name in parentheses may hold any byte, parentheses and spaces included; what follows the last one does not.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| -> Option<u64> { fields.get(index)?.parse().ok() };
    // The first thread may have ended while others go on: such a process only looks as if it had ended.
    let over = matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1;
    Some(Row {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        session: u32::try_from(number(3)?).ok()?,
        started: number(19)?,
        ended: over,
    })
}

/// All processes that we may know of.
///
/// While the rows are read, a process may start another one and end: then neither is seen. So the list is read again, until it
/// names nobody new.
#[cfg(target_os = "linux")]
pub(super) fn table() -> Vec<Row> {
    // Elsewhere on a busy machine there is always somebody new.
    const MOST: usize = 8;
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for _ in 0..MOST {
        let Ok(processes) = std::fs::read_dir("/proc") else { break };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let fresh: Vec<u32> = pids.filter(|pid| seen.insert(*pid)).collect();
        if fresh.is_empty() {
            break;
        }
        rows.extend(fresh.into_iter().filter_map(row));
    }
    rows
}

/// One process in the system's table, by its id.
#[cfg(target_os = "macos")]
pub(super) fn row(pid: u32) -> Option<Row> {
    const ZOMBIE: u32 = 5;
    let size = i32::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
    let raw = i32::try_from(pid).ok()?;
    // SAFETY: the structure is plain data, for which zeroes are a valid value.
    let mut info: libc::proc_bsdinfo = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is valid for writes of `size` bytes.
    let got = unsafe { libc::proc_pidinfo(raw, libc::PROC_PIDTBSDINFO, 0, (&raw mut info).cast(), size) };
    if got != size {
        return None;
    }
    let session = rustix::process::getsid(to_pid(pid)).map_or(0, |sid| sid.as_raw_nonzero().get());
    Some(Row {
        pid,
        parent: info.pbi_ppid,
        session: u32::try_from(session).unwrap_or(0),
        started: info.pbi_start_tvsec.wrapping_mul(1_000_000).wrapping_add(info.pbi_start_tvusec),
        ended: info.pbi_status == ZOMBIE,
    })
}

/// All processes that we may know of.
#[cfg(target_os = "macos")]
pub(super) fn table() -> Vec<Row> {
    // Between the question how many there are and the list there may be more of them.
    const SPARE: usize = 256;
    // SAFETY: without a buffer the call only counts.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let mut pids = vec![0_i32; usize::try_from(count).unwrap_or(0) + SPARE];
    let bytes = i32::try_from(size_of_val(pids.as_slice())).unwrap_or(0);
    // SAFETY: the buffer is valid for writes of `bytes` bytes.
    let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), bytes) };
    pids.truncate(usize::try_from(count).unwrap_or(0));
    pids.into_iter().filter_map(|pid| row(u32::try_from(pid).ok()?)).collect()
}

/// One process in the system's table: not known on this system.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn row(_pid: u32) -> Option<Row> {
    None
}

/// All processes: this system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn table() -> Vec<Row> {
    Vec::new()
}

/// The rows below one of `roots`, the roots themselves not among them.
fn below(rows: &[Row], roots: &[u32]) -> Vec<Row> {
    let mut found: Vec<Row> = Vec::new();
    let mut seen: BTreeSet<u32> = roots.iter().copied().collect();
    let mut next: Vec<(u32, u64)> = roots.iter().map(|root| (*root, 0)).collect();
    while let Some((parent, since)) = next.pop() {
        // Nobody is older than its parent: such a row tells of an id that changed hands while the table was read.
        for row in rows.iter().filter(|row| row.parent == parent && row.started >= since) {
            if seen.insert(row.pid) {
                found.push(*row);
                next.push((row.pid, row.started));
            }
        }
    }
    found
}

/// The parent of the process `pid`.
pub fn parent_of(pid: u32) -> Option<u32> {
    row(pid).map(|row| row.parent)
}

/// The living children of this process.
pub fn own_children() -> Vec<u32> {
    let own = std::process::id();
    table().into_iter().filter(|row| row.parent == own).map(|row| row.pid).collect()
}

/// Makes this process inherit every orphan below itself, where the system can do that.
pub fn adopt_orphans() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The processes below one process, as they come and go.
#[derive(Debug)]
pub struct Tree {
    root: u32,
    /// Sessions begun inside the tree: where orphans do not stay below the root, their session still tells of them.
    sessions: BTreeSet<u32>,
}

impl Tree {
    /// The tree below `root`, which is not part of it.
    pub fn below(root: u32) -> Self {
        Self { root, sessions: BTreeSet::new() }
    }

    /// Looks around, where what is seen now helps to find somebody later, and gives who was seen. Elsewhere it does nothing.
    pub fn look(&mut self) -> Vec<u32> {
        if ORPHANS_STAY {
            return Vec::new();
        }
        self.members(&table()).iter().map(|row| row.pid).collect()
    }

    fn members(&mut self, rows: &[Row]) -> Vec<Row> {
        self.members_by(rows, !ORPHANS_STAY)
    }

    fn members_by(&mut self, rows: &[Row], by_session: bool) -> Vec<Row> {
        let mut found = below(rows, &[self.root]);
        if by_session {
            // One that nobody is in any more is over, and its number may be given to somebody else.
            self.sessions.retain(|session| rows.iter().any(|row| row.session == *session));
            loop {
                let known: BTreeSet<u32> = found.iter().map(|row| row.pid).collect();
                self.sessions.extend(found.iter().filter(|row| row.session == row.pid).map(|row| row.pid));
                let others: Vec<Row> = rows
                    .iter()
                    .filter(|row| row.pid != self.root && !known.contains(&row.pid))
                    .filter(|row| self.sessions.contains(&row.session) || known.contains(&row.parent))
                    .copied()
                    .collect();
                if others.is_empty() {
                    break;
                }
                found.extend(others);
            }
        }
        found
    }

    /// Ends all of them. `reap` is called whenever some may wait to be reaped.
    pub fn end(&mut self, limit: Duration, mut reap: impl FnMut()) -> Ending {
        end_all(limit, |rows| self.members(rows), |_| reap())
    }
}

/// Ends the process named by `pid` and `started`, after everything below it. If there is no such process, nothing happens.
///
/// The root is stopped first and ended last: as long as it exists, orphans below it do not get away.
pub fn end_tree(pid: u32, started: u64, limit: Duration) -> Ending {
    let deadline = Instant::now() + limit;
    let Some(root) = row(pid).filter(|row| row.started == started && !row.ended) else {
        return Ending::default();
    };
    let mut tree = Tree::below(pid);
    tree.look();
    let _ = send(&root, Signal::STOP);
    let mut ending = tree.end(limit, || {});
    let may = send(&root, Signal::KILL) != Err(Errno::PERM);
    let left = deadline.saturating_duration_since(Instant::now()).max(GLANCE);
    if may && wait_for_end(pid, started, left) {
        ending.ended.push(pid);
    } else {
        ending.left.push(pid);
    }
    ending
}

/// Ends the orphans that this process has inherited, with everything below them, and reaps them: all children of
/// ours that are not in `keep`. Only for who has called [`adopt_orphans`].
///
/// The first process of a container inherits also what was never below it: there, only who has `mark` in its environment
/// is ended.
pub fn end_strays(keep: &BTreeSet<u32>, mark: &str, limit: Duration) -> Ending {
    if !ORPHANS_STAY {
        return Ending::default();
    }
    let own = std::process::id();
    let is_stray = |row: &Row| row.parent == own && !keep.contains(&row.pid);
    end_all(
        limit,
        |rows| {
            let is_ours = |row: &Row| is_stray(row) && (own != 1 || has_mark(row.pid, mark));
            let strays: Vec<Row> = rows.iter().copied().filter(is_ours).collect();
            let roots: Vec<u32> = strays.iter().map(|row| row.pid).collect();
            strays.into_iter().chain(below(rows, &roots)).collect()
        },
        |rows| {
            for pid in rows.iter().filter(|row| row.ended && is_stray(row)).filter_map(|row| to_pid(row.pid))
            {
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
            }
        },
    )
}

/// Whether the process `pid` was started with `mark` (`NAME=VALUE`) in its environment, as far as the system tells.
#[cfg(target_os = "linux")]
fn has_mark(pid: u32, mark: &str) -> bool {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
}

/// Whether a process was started with a mark in its environment: this system is not asked.
#[cfg(not(target_os = "linux"))]
fn has_mark(_pid: u32, _mark: &str) -> bool {
    false
}

/// Ends all processes that were started with `mark` (`NAME=VALUE`) in their environment, and what is below them; this process
/// and those above it excepted. For finding again what nobody looks after any more.
pub fn end_marked(mark: &str, limit: Duration) -> Ending {
    end_all(
        limit,
        |rows| {
            let mut spared = BTreeSet::new();
            let mut next = Some(std::process::id());
            while let Some(pid) = next.filter(|pid| spared.insert(*pid)) {
                next = rows.iter().find(|row| row.pid == pid).map(|row| row.parent);
            }
            let marked = rows.iter().filter(|row| !row.ended && has_mark(row.pid, mark));
            let roots: Vec<Row> = marked.filter(|row| !spared.contains(&row.pid)).copied().collect();
            let ids: Vec<u32> = roots.iter().map(|row| row.pid).collect();
            let others = below(rows, &ids).into_iter().filter(|row| !spared.contains(&row.pid));
            roots.iter().copied().chain(others).collect()
        },
        |_| {},
    )
}

/// How long a look at one process may take before all are looked at again.
const GLANCE: Duration = Duration::from_millis(20);

/// How many looks in a row must find nobody: one alone can miss who replaces himself all the time.
const LOOKS: u32 = 3;

/// Ends all that `select` finds, until it finds none.
///
/// All are stopped before one is ended, so that nobody can answer the end of another by starting somebody new; and
/// a process that is stopped while it forks is found with its child in the next look.
fn end_all(
    limit: Duration,
    mut select: impl FnMut(&[Row]) -> Vec<Row>,
    mut reap: impl FnMut(&[Row]),
) -> Ending {
    let deadline = Instant::now() + limit;
    let mut stopped: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut forbidden: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut empty = 0;
    loop {
        let rows = table();
        reap(&rows);
        let mut living = select(&rows);
        living.retain(|row| !row.ended && !forbidden.contains(&(row.pid, row.started)));
        let late = Instant::now() >= deadline;
        empty = if living.is_empty() { empty + 1 } else { 0 };
        if empty > 0 && empty < LOOKS && !late {
            continue;
        }
        if living.is_empty() || late {
            // Whoever is left has at least been told.
            for row in &living {
                let _ = send(row, Signal::KILL);
            }
            let left: BTreeSet<(u32, u64)> =
                forbidden.into_iter().chain(living.iter().map(|row| (row.pid, row.started))).collect();
            return Ending {
                ended: stopped.difference(&left).map(|(pid, _)| *pid).collect(),
                left: left.into_iter().map(|(pid, _)| pid).collect(),
            };
        }
        let mut new = false;
        for row in living.iter().filter(|row| stopped.insert((row.pid, row.started))) {
            new = true;
            if send(row, Signal::STOP) == Err(Errno::PERM) {
                forbidden.insert((row.pid, row.started));
            }
        }
        if new {
            continue;
        }
        for row in &living {
            let _ = send(row, Signal::KILL);
        }
        for row in &living {
            if !wait_for_end(row.pid, row.started, GLANCE) {
                break;
            }
        }
    }
}

/// Signals the very process that `row` tells of, and never another one that has its id now.
fn send(row: &Row, signal: Signal) -> Result<(), Errno> {
    let Some(pid) = to_pid(row.pid) else { return Err(Errno::SRCH) };
    let is_meant = || process_started(row.pid) == Some(row.started);
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor names a process for good; whether it is the one that is meant can be asked now.
            Ok(fd) if is_meant() => return pidfd_send_signal(&fd, signal),
            Ok(_) | Err(Errno::SRCH) => return Err(Errno::SRCH),
            // An older kernel, or no descriptor to spare.
            Err(_) => {}
        }
    }
    if is_meant() { kill_process(pid, signal) } else { Err(Errno::SRCH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, parent: u32, session: u32, started: u64) -> Row {
        Row { pid, parent, session, started, ended: false }
    }

    fn pids(mut rows: Vec<Row>) -> Vec<u32> {
        rows.sort_by_key(|row| row.pid);
        rows.into_iter().map(|row| row.pid).collect()
    }

    #[test]
    fn a_tree_is_everybody_below_its_root_and_nobody_else() {
        // In any order, with ids that have wrapped around.
        let rows =
            [row(5, 90, 1, 30), row(90, 10, 1, 20), row(10, 2, 1, 10), row(11, 2, 1, 10), row(6, 5, 6, 31)];
        assert_eq!(pids(below(&rows, &[10])), [5, 6, 90]);
        assert_eq!(pids(below(&rows, &[11])), [0_u32; 0]);
        assert_eq!(pids(below(&rows, &[5, 90])), [6]);
    }

    #[test]
    fn a_circle_in_a_torn_table_ends() {
        let rows = [row(5, 6, 1, 30), row(6, 5, 1, 30), row(7, 7, 1, 1)];
        assert_eq!(pids(below(&rows, &[5])), [6]);
        assert_eq!(pids(below(&rows, &[7])), [0_u32; 0]);
    }

    #[test]
    fn nobody_is_older_than_its_parent() {
        let rows = [row(10, 2, 1, 10), row(20, 10, 1, 50), row(30, 20, 1, 40)];
        assert_eq!(pids(below(&rows, &[2])), [10, 20]);
    }

    #[test]
    fn where_orphans_get_away_their_session_tells_of_them() {
        let mut tree = Tree::below(10);
        let before = [row(10, 2, 1, 10), row(20, 10, 20, 11), row(30, 20, 30, 12), row(99, 1, 99, 5)];
        assert_eq!(pids(tree.members_by(&before, true)), [20, 30]);
        // 20 has ended: its child in its session and the leader of a session of its own belong to process 1 now.
        let after = [
            row(10, 2, 1, 10),
            row(21, 1, 20, 13),
            row(30, 1, 30, 12),
            row(31, 30, 31, 14),
            row(99, 1, 99, 5),
        ];
        assert_eq!(pids(tree.members_by(&after, true)), [21, 30, 31]);
        // The root's own session is not one of the tree's.
        assert!(!tree.sessions.contains(&1));
        // A session that is over is forgotten.
        let later = [row(10, 2, 1, 10), row(20, 1, 20, 90)];
        tree.members_by(&[row(10, 2, 1, 10)], true);
        assert_eq!(pids(tree.members_by(&later, true)), [0_u32; 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_of_the_table_is_read_whatever_the_name() {
        let rest = b" S 7 8 9 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2";
        for name in [&b"sh"[..], b") R 1 2 3", b"\xff\xfe(", b"a b\n"] {
            let line = [b"42 (", name, b")", rest].concat();
            let expected = Row { pid: 42, parent: 7, session: 9, started: 777, ended: false };
            assert_eq!(parse_stat(42, &line), Some(expected));
        }
        let zombie = b"1 (x) Z 7 8 9 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2";
        assert!(parse_stat(1, zombie).is_some_and(|row| row.ended));
        let threads = b"1 (x) Z 7 8 9 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 777 1 2";
        assert!(parse_stat(1, threads).is_some_and(|row| !row.ended), "its other threads go on");
        for torn in [&b""[..], b"1 (x", b"1 (x)", b"1 (x) S 7"] {
            assert_eq!(parse_stat(1, torn), None);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_table_knows_us_and_our_parent() {
        let own = std::process::id();
        let ours = table().into_iter().find(|row| row.pid == own).expect("we are in it");
        assert_eq!(Some(ours.started), process_started(own));
        assert_eq!(parent_of(own), Some(ours.parent));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_tree_ends_as_a_whole_and_only_if_its_root_is_the_one_that_is_meant() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 1000 & setsid sleep 1000 & wait"])
            .spawn()
            .expect("a shell");
        let pid = child.id();
        let started = process_started(pid).expect("it lives");
        let deadline = Instant::now() + Duration::from_secs(30);
        let members = loop {
            let members = below(&table(), &[pid]);
            if members.len() == 2 {
                break members;
            }
            assert!(Instant::now() < deadline, "{members:?}");
            std::thread::yield_now();
        };
        assert_eq!(end_tree(pid, started + 1, Duration::from_secs(5)), Ending::default());
        assert_eq!(process_started(pid), Some(started));
        let ending = end_tree(pid, started, Duration::from_secs(30));
        assert_eq!(ending.left, [0_u32; 0]);
        assert!(ending.ended.contains(&pid) && ending.ended.len() >= 3, "{ending:?}");
        for member in members {
            assert_eq!(process_started(member.pid), None);
        }
        child.wait().expect("reaped");
    }
}
