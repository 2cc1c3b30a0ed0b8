//! Windows.

use super::{Evidence, FileIdentity};
use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::process::Command;
use windows_sys::Win32::Foundation::{CloseHandle, WAIT_TIMEOUT};
use windows_sys::Win32::Storage::FileSystem::MoveFileExW;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

/// Runs `command` to its end and exits with its code: Windows cannot replace a process.
pub fn exec(command: &mut Command) -> io::Result<Infallible> {
    let status = command.status()?;
    #[expect(clippy::exit, reason = "this is what stands for exec here: nothing of ours may run after it")]
    std::process::exit(status.code().unwrap_or(1))
}

/// Nothing to do: the parent stays, and keeps its files.
pub fn keep_over_exec(_file: &File) -> io::Result<()> {
    Ok(())
}

/// The cheap evidence in `meta`.
pub fn evidence(meta: &Metadata) -> Evidence {
    Evidence {
        size: meta.file_size(),
        inode: meta.creation_time(),
        changed_ns: i64::try_from(meta.last_write_time()).unwrap_or(i64::MAX),
        mode: meta.file_attributes(),
    }
}

/// Which file this is.
///
/// # Errors
/// The system does not say.
pub fn file_identity(file: &File) -> io::Result<FileIdentity> {
    use windows_sys::Win32::Storage::FileSystem::{BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle};
    // SAFETY: the structure is plain data, for which zeroes are a valid value.
    let mut info: BY_HANDLE_FILE_INFORMATION = unsafe { std::mem::zeroed() };
    // SAFETY: the handle is open for as long as `file` is borrowed, and the structure is valid for writes.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut info) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let index = u64::from(info.nFileIndexHigh) << 32 | u64::from(info.nFileIndexLow);
    Ok(FileIdentity(u64::from(info.dwVolumeSerialNumber), index))
}

/// Which file has the name `path` now.
///
/// # Errors
/// There is none.
pub fn identity_of(path: &Path) -> io::Result<FileIdentity> {
    file_identity(&File::open(path)?)
}

/// Whether nobody will ever read what is written to standard output: not asked on this system, where the next write tells.
pub fn output_is_abandoned() -> bool {
    false
}

/// Whether files have permission bits here, so that one can tell a program by them.
pub const HAS_PERMISSION_BITS: bool = false;

/// The permission bits in `meta`. `None`: files have none here.
pub fn permission_bits(_meta: &Metadata) -> Option<u32> {
    None
}

/// Renames without ever replacing something: [`io::ErrorKind::AlreadyExists`] if `to` exists.
///
/// Virus scanners hold new files open for a moment, so a refusal is tried again for about ten seconds.
pub fn rename_no_clobber(from: &Path, to: &Path) -> io::Result<()> {
    const ACCESS_DENIED: i32 = 5;
    const SHARING_VIOLATION: i32 = 32;
    let wide = |path: &Path| path.as_os_str().encode_wide().chain([0]).collect::<Vec<u16>>();
    let (from_wide, to_wide) = (wide(from), wide(to));
    let mut pause = std::time::Duration::from_millis(10);
    loop {
        // SAFETY: both strings are NUL-terminated and outlive the call.
        if unsafe { MoveFileExW(from_wide.as_ptr(), to_wide.as_ptr(), 0) } != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        let is_held = matches!(error.raw_os_error(), Some(ACCESS_DENIED | SHARING_VIOLATION));
        if !is_held || to.exists() || pause.as_secs() >= 5 {
            return Err(error);
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
}

/// Whether the file that `meta` describes may be executed. Windows has no such bit; its name decides.
pub fn is_executable(_meta: &Metadata) -> bool {
    true
}

/// Sets or clears the read-only attribute of a file, as the write bits of `mode` say. Directories have no such bit.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let meta = path.metadata()?;
    if meta.is_file() {
        let mut permissions = meta.permissions();
        permissions.set_readonly(mode & 0o200 == 0);
        std::fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Whether `meta` is read-only where `mode` has no write bit. Directories have no such bit.
pub fn has_mode(meta: &Metadata, mode: u32) -> bool {
    meta.is_dir() || meta.permissions().readonly() == (mode & 0o200 == 0)
}

/// The bits that let the owner add to a directory and take away from it.
pub const OPEN_DIRECTORY: u32 = 0o755;

/// Writes all of `bytes` at `offset`. Moves the file's own position, which nobody here uses.
pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets or clears the read-only attribute of an open file, as the write bits of `mode` say.
pub fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(mode & 0o200 == 0);
    file.set_permissions(permissions)
}

/// Whether the file of a running program can be replaced by a rename. Here it can only be renamed itself.
pub const CAN_REPLACE_RUNNING: bool = false;

/// Ownership is inherited from the directory.
pub fn adopt_owner(_path: &Path, _meta: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Who owns what `meta` describes: not asked here, where it does not decide what may be written.
pub fn owned_by(_meta: &Metadata) -> (u32, bool) {
    (0, true)
}

/// Makes `link` a symbolic link to `target`, which must exist. Windows asks for a privilege or developer mode.
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let resolved = link.parent().map_or_else(|| target.to_owned(), |dir| dir.join(target));
    if resolved.is_dir() {
        std::os::windows::fs::symlink_dir(target, link)
    } else {
        std::os::windows::fs::symlink_file(target, link)
    }
}

/// The permission bits that a stored file or directory has: never writable. Only the write bits mean something here.
pub fn stored_mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

/// Sharing blocks needs a file system with block cloning; not done here.
pub fn clone_file(_from: &File, _to: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Flushing a whole volume needs an administrator; the caller falls back to file by file.
pub fn sync_file_system(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// An id of this boot of the machine, made of the minute it started in. A clock that is set across a minute's border
/// makes it look like another boot, which costs one verification and nothing else.
pub fn boot_id() -> Option<String> {
    // SAFETY: takes nothing and cannot fail.
    let up = std::time::Duration::from_millis(unsafe { GetTickCount64() });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("boot-minute-{}", now.checked_sub(up)?.as_secs() / 60))
}

/// The processes that hold a lock on a file: Windows does not tell without the restart manager.
pub fn lock_holders(_meta: &Metadata) -> Vec<u32> {
    Vec::new()
}

/// The processes whose program lies below a directory: a program that runs cannot be removed here anyway.
pub fn running_below(_dir: &Path) -> Vec<u32> {
    Vec::new()
}

/// Windows mounts know no such thing.
pub fn is_noexec(_path: &Path) -> bool {
    false
}

/// Ownership is inherited from the directory here, so the question does not arise.
pub fn is_foreign_home(_path: &Path) -> bool {
    false
}

/// The id of the person this process belongs to: numbers are not what names people on this system.
pub fn user_id() -> u32 {
    0
}

/// Whether a process with this id exists and has not ended.
pub fn process_exists(pid: u32) -> bool {
    // SAFETY: plain values in; the handle is checked and closed once.
    unsafe {
        let handle = OpenProcess(PROCESS_SYNCHRONIZE, 0, pid);
        if handle.is_null() {
            return false;
        }
        let alive = WaitForSingleObject(handle, 0) == WAIT_TIMEOUT;
        CloseHandle(handle);
        alive
    }
}
