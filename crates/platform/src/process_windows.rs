//! Processes as a supervisor sees them, on Windows.
//!
//! There are no signals: a child is asked to end by closing its standard input, and a job object ends all of them with
//! their supervisor.

use super::{Ending, ParentDeath};
use std::collections::BTreeSet;
use std::io;
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{CloseHandle, FILETIME, HANDLE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS, GetCurrentProcess, GetProcessTimes, OpenProcess,
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess,
    WaitForSingleObject,
};

/// A handle that is closed when it goes out of scope.
struct Process(HANDLE);

impl Process {
    fn open(pid: u32, access: u32) -> Option<Self> {
        // SAFETY: plain values in; a null handle is filtered.
        let handle = unsafe { OpenProcess(access, 0, pid) };
        (!handle.is_null()).then_some(Self(handle))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by us and is closed once.
        unsafe { CloseHandle(self.0) };
    }
}

/// When the process started: with the id it names one process of this boot. `None` if there is none or it has ended.
pub fn process_started(pid: u32) -> Option<u64> {
    let process = Process::open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)?;
    // SAFETY: the handle is open and may be waited on.
    if unsafe { WaitForSingleObject(process.0, 0) } != WAIT_TIMEOUT {
        return None;
    }
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let (mut created, mut exited, mut kernel, mut user) = (zero, zero, zero, zero);
    // SAFETY: the handle is open, and the four places are valid for writes.
    let ok = unsafe { GetProcessTimes(process.0, &mut created, &mut exited, &mut kernel, &mut user) };
    (ok != 0).then(|| u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime))
}

/// How much memory the process occupies: not asked on this system.
pub fn resident_bytes(_pid: u32) -> Option<u64> {
    None
}

/// Detaches the process that `command` starts from this console.
pub fn in_own_session(command: &mut Command) {
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
}

/// Keeps a console's interrupt away from the process that `command` starts. Its end with ours is the job's task.
pub fn in_own_group(command: &mut Command, _parent_death: ParentDeath) {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP);
}

/// Asks a child of ours to end: nothing can be sent, so `false`: the caller closes its standard input.
pub fn ask_to_end(_pid: u32) -> bool {
    false
}

/// Every process's id and that of the one that started it, which may be somebody else's by now.
fn table() -> Vec<(u32, u32)> {
    // SAFETY: plain values in; the handle is checked.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Vec::new();
    }
    let snapshot = Process(snapshot);
    // SAFETY: the structure is plain data, for which zeroes are a valid value.
    let mut entry: PROCESSENTRY32W = unsafe { std::mem::zeroed() };
    entry.dwSize = u32::try_from(size_of::<PROCESSENTRY32W>()).unwrap_or(0);
    let mut rows = Vec::new();
    // SAFETY: the snapshot is open, and the entry says how large it is.
    let mut more = unsafe { Process32FirstW(snapshot.0, &raw mut entry) };
    while more != 0 {
        rows.push((entry.th32ProcessID, entry.th32ParentProcessID));
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.0, &raw mut entry) };
    }
    rows
}

/// The parent of the process `pid`, as far as it still lives.
pub fn parent_of(pid: u32) -> Option<u32> {
    let parent = table().into_iter().find(|(id, _)| *id == pid)?.1;
    (process_started(parent)? <= process_started(pid)?).then_some(parent)
}

/// The children of this process: not asked, because nobody inherits orphans here.
pub fn own_children() -> Vec<u32> {
    Vec::new()
}

/// Ends the process named by `pid` and `started`, and everything below it. If there is no such process, nothing happens.
///
/// A process keeps the id of who started it, also if that one has ended. So the root goes first, and nobody is missed
/// for it; an open handle keeps an id from being used again meanwhile.
pub fn end_tree(pid: u32, started: u64, limit: Duration) -> Ending {
    let deadline = Instant::now() + limit;
    let access = PROCESS_TERMINATE | PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION;
    let mut ending = Ending::default();
    let mut members: Vec<(u32, u64, Option<Process>)> = Vec::new();
    let mut new = vec![(pid, started)];
    while !new.is_empty() {
        for (pid, started) in new.drain(..) {
            let process = Process::open(pid, access);
            if process_started(pid) != Some(started) {
                continue;
            }
            if let Some(process) = &process {
                // SAFETY: the handle is open and may terminate.
                unsafe { TerminateProcess(process.0, 1) };
            }
            members.push((pid, started, process));
        }
        for (id, parent) in table() {
            let Some((_, since, _)) = members.iter().find(|(pid, _, _)| *pid == parent) else { continue };
            let known = members.iter().any(|(pid, _, _)| *pid == id);
            if let Some(started) = process_started(id).filter(|started| !known && started >= since) {
                new.push((id, started));
            }
        }
    }
    for (pid, started, process) in &members {
        let left = deadline.saturating_duration_since(Instant::now());
        if process.is_some() && wait_for_end(*pid, *started, left) {
            ending.ended.push(*pid);
        } else {
            ending.left.push(*pid);
        }
    }
    ending
}

/// Ends orphans that this process has inherited: nobody does here, and the job ends them with their supervisor.
pub fn end_strays(_keep: &BTreeSet<u32>, _mark: &str, _limit: Duration) -> Ending {
    Ending::default()
}

/// Ends processes that were started with a mark in their environment: none outlives the job.
pub fn end_marked(_mark: &str, _limit: Duration) -> Ending {
    Ending::default()
}

/// Waits until the process named by `pid` and `started` has ended; `false` if it still runs after `limit`.
pub fn wait_for_end(pid: u32, started: u64, limit: Duration) -> bool {
    let Some(process) = Process::open(pid, PROCESS_SYNCHRONIZE) else {
        return true;
    };
    if process_started(pid) != Some(started) {
        return true;
    }
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX - 1);
    // SAFETY: the handle is open and may be waited on.
    unsafe { WaitForSingleObject(process.0, millis) != WAIT_TIMEOUT }
}

/// What to execute to run this executable again. A running file cannot be replaced here, only renamed.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// What runs `program`.
pub fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Where to read the running executable from. It cannot be replaced while it runs.
pub fn own_executable() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Processes have no name but their file's.
pub fn name_process(_name: &std::ffi::CStr) {}

/// Makes the children of this process end with it, by a job that is closed when this process ends, however it does.
pub fn end_children_with_us() -> io::Result<()> {
    // SAFETY: no attributes and no name; the handle is checked. It is never closed on purpose: its closing is the signal.
    let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
    if job.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the structure is plain data, for which zeroes are a valid value.
    let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = unsafe { std::mem::zeroed() };
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    let size = u32::try_from(size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>()).unwrap_or(0);
    // SAFETY: the handle is a job, and the buffer is of the class and size that is named.
    let set = unsafe {
        SetInformationJobObject(job, JobObjectExtendedLimitInformation, (&raw const limits).cast(), size)
    };
    // SAFETY: both handles are valid for this process.
    if set == 0 || unsafe { AssignProcessToJobObject(job, GetCurrentProcess()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Creates the directory `path` and those above it. Access is inherited from the user's profile.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    fs_err::create_dir_all(path)
}

/// Access is inherited from the directory.
pub fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    options
}

/// How a process ended: its exit code. There are no signals.
pub fn exit_parts(status: std::process::ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), None)
}
