//! Processes as a supervisor sees them, on Linux and macOS.
//!
//! A process id alone names nothing: ids are used again. Wherever one is kept, the moment the kernel started that process
//! is kept with it, and nothing is signalled unless both match.

use super::ParentDeath;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|raw| *raw > 1).and_then(Pid::from_raw)
}

/// When the process started, in a unit of the system: with the id it names one process of this boot.
/// `None` if there is none, or if it has ended and waits to be reaped.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub fn process_started(pid: u32) -> Option<u64> {
    super::process_tree_unix::row(pid).filter(|row| !row.ended).map(|row| row.started)
}

/// When the process started: not known on this system, where any living process is taken for the one that is meant.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn process_started(pid: u32) -> Option<u64> {
    super::process_exists(pid).then_some(0)
}

/// How much memory the process occupies, in bytes.
#[cfg(target_os = "linux")]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// How much memory the process occupies, in bytes: not asked on this system.
#[cfg(not(target_os = "linux"))]
pub fn resident_bytes(_pid: u32) -> Option<u64> {
    None
}

/// Gives the process that `command` starts a session of its own, so that no terminal's end or interrupt reaches it.
pub fn in_own_session(command: &mut Command) {
    // SAFETY: between fork and exec only setsid is called, which is safe after a fork.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// Gives the process that `command` starts a process group of its own, and tells the kernel what to send it when
/// the *thread* that starts it ends; so it must be started from a thread that lives as long as this process.
pub fn in_own_group(command: &mut Command, parent_death: ParentDeath) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let signal = match parent_death {
            ParentDeath::Kill => Signal::KILL,
            ParentDeath::Wake => Signal::CONT,
        };
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec only prctl and getppid are called, which are safe after a fork.
        unsafe {
            command.pre_exec(move || end_with(parent, signal));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent_death;
}

/// For between fork and exec: has the kernel send `signal` to this process when `parent` ends.
#[cfg(target_os = "linux")]
pub(super) fn end_with(parent: Pid, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // The parent may have ended before the line above.
    if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Asks a child of ours to end. On this system that is a signal, so `true`: nothing else is to be done.
pub fn ask_to_end(pid: u32) -> bool {
    to_pid(pid).is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok())
}

/// Waits until the process named by `pid` and `started` has ended; `false` if it still runs after `limit`.
#[cfg(target_os = "linux")]
pub fn wait_for_end(pid: u32, started: u64, limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};
    let deadline = Instant::now() + limit;
    let Some(target) = to_pid(pid) else { return true };
    match pidfd_open(target, PidfdFlags::empty()) {
        Ok(fd) => {
            // The descriptor names a process for good; whether it is the one that is meant can be asked now.
            while process_started(pid) == Some(started) {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                let mut fds = [PollFd::new(&fd, PollFlags::IN)];
                let _ = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
            }
            true
        }
        Err(rustix::io::Errno::SRCH) => true,
        Err(_) => wait_by_asking(pid, started, deadline),
    }
}

/// Waits until the process named by `pid` and `started` has ended; `false` if it still runs after `limit`.
#[cfg(not(target_os = "linux"))]
pub fn wait_for_end(pid: u32, started: u64, limit: Duration) -> bool {
    wait_by_asking(pid, started, Instant::now() + limit)
}

/// For systems that tell of the end of foreign processes only when asked.
fn wait_by_asking(pid: u32, started: u64, deadline: Instant) -> bool {
    while process_started(pid) == Some(started) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// What to execute to run this very executable again, also after its file was replaced or removed: a
/// supervisor must not mix two versions by restarting a child from a newer file.
#[cfg(target_os = "linux")]
pub fn own_program() -> io::Result<PathBuf> {
    let path = PathBuf::from("/proc/self/exe");
    if path.exists() { Ok(path) } else { std::env::current_exe() }
}

/// What to execute to run this executable again.
#[cfg(not(target_os = "linux"))]
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// What runs `program`. If that is [`own_program`], the process is called as this one was: nobody knows a program by the
/// name of a link below `/proc`.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if own_program().is_ok_and(|own| own == program)
        && let Some(name) = std::env::args_os().next()
    {
        command.arg0(name);
    }
    command
}

/// Where to read the running executable from: its path, or the file itself if an update has put another one there
/// since it was started.
pub fn own_executable() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    #[cfg(target_os = "linux")]
    if std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).ends_with(b" (deleted)") && !path.exists() {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    Ok(path)
}

/// Names this process for `ps` and `top`, where they would show the name of a link. At most 15 bytes are shown.
pub fn name_process(name: &std::ffi::CStr) {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::thread::set_name(name);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = name;
}

/// Makes the children of this process end with it. Here that is arranged for each child by itself; what they leave
/// behind is ours to end, where the system lets us inherit it.
pub fn end_children_with_us() -> io::Result<()> {
    super::adopt_orphans()
}

/// Creates the directory `path` and those above it; nobody but the owner may look into it.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs_err::metadata(path)?;
            if meta.permissions().mode() & 0o077 != 0 {
                fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
            }
            Ok(())
        }
        other => other.map_err(|error| {
            let words = format!("failed to create directory `{}`: {error}", path.display());
            io::Error::new(error.kind(), words)
        }),
    }
}

/// Makes a file that `options` creates readable and writable by its owner only.
pub fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

/// How a process ended: its exit code, or the number of the signal that ended it.
pub fn exit_parts(status: std::process::ExitStatus) -> (Option<i32>, Option<i32>) {
    use std::os::unix::process::ExitStatusExt;
    (status.code(), status.signal())
}
