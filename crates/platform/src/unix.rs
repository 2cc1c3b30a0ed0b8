//! Linux and macOS, through safe wrappers where there are some.

use super::{Evidence, FileIdentity};
use std::convert::Infallible;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Replaces this process by `command`. Returns only if that failed.
pub fn exec(command: &mut Command) -> io::Result<Infallible> {
    Err(command.exec())
}

/// Lets `file` stay open in the program this process becomes.
pub fn keep_over_exec(file: &File) -> io::Result<()> {
    let flags = rustix::io::fcntl_getfd(file)?;
    Ok(rustix::io::fcntl_setfd(file, flags - rustix::io::FdFlags::CLOEXEC)?)
}

/// The cheap evidence in `meta`.
pub fn evidence(meta: &Metadata) -> Evidence {
    Evidence {
        size: meta.size(),
        inode: meta.ino(),
        changed_ns: meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec()),
        mode: meta.mode() & 0o7777,
    }
}

/// Which file this is.
///
/// # Errors
/// The system does not say.
pub fn file_identity(file: &File) -> io::Result<FileIdentity> {
    file.metadata().map(|meta| FileIdentity(meta.dev(), meta.ino()))
}

/// Which file has the name `path` now.
///
/// # Errors
/// There is none.
pub fn identity_of(path: &Path) -> io::Result<FileIdentity> {
    std::fs::metadata(path).map(|meta| FileIdentity(meta.dev(), meta.ino()))
}

/// Whether nobody will ever read what is written to standard output: the pipe's other end or the terminal is gone.
pub fn output_is_abandoned() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let output = io::stdout();
    // Nothing is asked for, for these two are told in any case.
    let mut polled = [PollFd::new(&output, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut polled, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && polled[0].revents().intersects(gone)
}

/// Whether files have permission bits here, so that one can tell a program by them.
pub const HAS_PERMISSION_BITS: bool = true;

/// The permission bits in `meta`, the special ones included. `None` where files have none.
pub fn permission_bits(meta: &Metadata) -> Option<u32> {
    Some(meta.mode() & 0o7777)
}

/// Renames without ever replacing something: [`io::ErrorKind::AlreadyExists`] (or `DirectoryNotEmpty`) if `to` exists.
pub fn rename_no_clobber(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems know no flags. A plain rename of a directory onto a non-empty one fails as well, and
        // onto an empty one does no harm.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            std::fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

/// Whether somebody may execute the file that `meta` describes.
pub fn is_executable(meta: &Metadata) -> bool {
    meta.mode() & 0o111 != 0
}

/// Sets the permission bits of `path`, following links.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Whether `meta` has exactly these permission bits.
pub fn has_mode(meta: &Metadata, mode: u32) -> bool {
    meta.mode() & 0o7777 == mode
}

/// The bits that let the owner add to a directory and take away from it.
pub const OPEN_DIRECTORY: u32 = 0o755;

/// Writes all of `bytes` at `offset`, leaving the file's own position alone, so that threads can share it.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Sets the permission bits of an open file.
pub fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Whether the file of a running program can be replaced by a rename.
pub const CAN_REPLACE_RUNNING: bool = true;

/// Gives the file at `path` the owner and group in `meta`, as far as we may: only the administrator can give files away.
pub fn adopt_owner(path: &Path, meta: &Metadata) -> io::Result<()> {
    match std::os::unix::fs::chown(path, Some(meta.uid()), Some(meta.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// The user who owns what `meta` describes, by number, and whether that is us.
pub fn owned_by(meta: &Metadata) -> (u32, bool) {
    (meta.uid(), meta.uid() == rustix::process::geteuid().as_raw())
}

/// Makes `link` a symbolic link to `target`.
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// The permission bits that a tree's file or directory has in the store: never writable, so that nothing changes
/// an entry by accident (an interpreter writing its caches, say).
pub fn stored_mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

/// Makes `to` share the blocks of `from`, copy on write. `Unsupported` where the file system cannot.
pub fn clone_file(from: &File, to: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => Ok(()),
            Err(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        // macOS clones by name only, and never into an open file.
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Flushes to disk everything of the file system that holds `path`.
#[cfg(target_os = "linux")]
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Flushes to disk everything: macOS has no call for one file system.
#[cfg(not(target_os = "linux"))]
pub fn sync_file_system(_path: &Path) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// An id of this boot of the machine: after a restart it differs.
#[cfg(target_os = "linux")]
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// An id of this boot of the machine: after a restart it differs.
#[cfg(target_os = "macos")]
pub fn boot_id() -> Option<String> {
    let mut buffer = [0_u8; 64];
    let mut length = buffer.len();
    // SAFETY: the name is NUL-terminated, `buffer` and `length` are valid for writes and agree, and no new value is set.
    let status = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            buffer.as_mut_ptr().cast(),
            &mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if status != 0 {
        return None;
    }
    let id = String::from_utf8_lossy(buffer.get(..length)?).trim_matches(['\0', '\n', ' ']).to_owned();
    Some(id).filter(|id| !id.is_empty())
}

/// An id of this boot of the machine. Not known on this system.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn boot_id() -> Option<String> {
    None
}

/// The processes that hold a lock on the file `meta` describes, as far as the system tells.
#[cfg(target_os = "linux")]
pub fn lock_holders(meta: &Metadata) -> Vec<u32> {
    let Ok(table) = std::fs::read_to_string("/proc/locks") else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = table
        .lines()
        .filter_map(|line| {
            // "1: FLOCK  ADVISORY  READ 1234 08:02:131 0 EOF"; a line with "->" is a waiter, not a holder.
            let mut fields = line.split_whitespace().skip(1);
            if fields.next()? != "FLOCK" {
                return None;
            }
            let pid = fields.nth(2)?.parse().ok()?;
            let inode: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
            (inode == meta.ino() && pid != 0).then_some(pid)
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The processes whose program lies below `dir`, as far as the system tells.
#[cfg(target_os = "linux")]
pub fn running_below(dir: &Path) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let runs_below = |pid: &u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.starts_with(dir))
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(runs_below)
        .collect()
}

/// The processes whose program lies below a directory: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn running_below(_dir: &Path) -> Vec<u32> {
    Vec::new()
}

/// The processes that hold a lock on a file: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn lock_holders(_meta: &Metadata) -> Vec<u32> {
    Vec::new()
}

/// Whether programs on the file system of `path` may not be executed (a `noexec` mount).
pub fn is_noexec(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

/// Whether we run as the administrator in a directory of somebody else: what we created there, that person could not
/// change. `path` is the directory, or the nearest one above it that exists.
pub fn is_foreign_home(path: &Path) -> bool {
    let nearest = path.ancestors().find_map(|p| p.metadata().ok());
    rustix::process::geteuid().is_root() && nearest.is_some_and(|meta| meta.uid() != 0)
}

/// The id of the person this process belongs to.
pub fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether a process with this id exists (or is a zombie not yet reaped).
pub fn process_exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    // EPERM means it exists and is not ours.
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}
