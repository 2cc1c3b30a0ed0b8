//! What an attendant needs of the system, on Linux and macOS: a start that announces itself, and an end like another's.

#[cfg(target_os = "linux")]
use rustix::process::Signal;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How long a line is that a process announces itself with, at most.
pub const ANNOUNCEMENT: usize = 64;

/// Gives the process that `command` starts a session of its own, has it announce itself on standard output before its program
/// runs, and, where the kernel can do that, ends it with this process, which must have a single thread.
///
/// `announce` writes a line for the process id it is given, and says how long it is. It runs between fork and exec,
/// so it must neither allocate nor lock.
pub fn in_announced_session(command: &mut Command, announce: fn(u32, &mut [u8; ANNOUNCEMENT]) -> usize) {
    #[cfg(target_os = "linux")]
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only system calls are made; `announce` promises to be as careful.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            #[cfg(target_os = "linux")]
            super::process_unix::end_with(parent, Signal::KILL)?;
            let mut line = [0_u8; ANNOUNCEMENT];
            let length = announce(std::process::id(), &mut line).min(ANNOUNCEMENT);
            rustix::io::write(rustix::stdio::stdout(), &line[..length])?;
            Ok(())
        });
    }
}

/// Points standard output to nowhere: whoever reads its other end is to see when everybody else has closed it.
pub fn close_stdout() -> io::Result<()> {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(&nowhere)?)
}

/// Whether everybody who could write to our standard input is gone. Nothing is read, and a terminal or a file never says so.
pub fn stdin_is_abandoned() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let input = io::stdin();
    let mut fds = [PollFd::new(&input, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&at_once)), Ok(1)) && fds[0].revents().contains(PollFlags::HUP)
}

/// Ends this process by the signal with this number, leaving no core dump: it tells of another's death, not of its own.
/// Comes back only if such a signal ends nobody.
pub fn end_by_signal(signal: i32) {
    #[cfg(target_os = "linux")]
    {
        // A limit of zero does not concern a collector of dumps; what may not be dumped does.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // SAFETY: the set is initialized before it is used, the default disposition runs no code of ours, and a number that
    // is no signal is refused by each call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}
