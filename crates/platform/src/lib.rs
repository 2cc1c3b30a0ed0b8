//! What differs between operating systems, behind one set of names.
//!
//! The only room that may hold `unsafe`, each block with its reason, so that the rest of the program can be read without
//! asking what the compiler no longer checks. Where a system lacks something, the function says so in its answer
//! (`None`, [`std::io::ErrorKind::Unsupported`]); the caller decides what that means.
#![expect(unsafe_code, reason = "this room is where it lives; every block says why it is sound")]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

mod ports;
pub use ports::*;

#[cfg(unix)]
mod forks_unix;
#[cfg(unix)]
pub use forks_unix::*;

#[cfg(unix)]
mod process_attend_unix;
#[cfg(unix)]
pub use process_attend_unix::*;

#[cfg(unix)]
mod process_tree_unix;
#[cfg(unix)]
pub use process_tree_unix::*;

#[cfg(unix)]
mod process_unix;
#[cfg(unix)]
pub use process_unix::*;

#[cfg(windows)]
mod process_windows;
#[cfg(windows)]
pub use process_windows::*;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// What a file's metadata says cheaply about whether its content is still the one we wrote.
///
/// Any write, truncation, mode change or replacement made through the file system changes at least one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Size in bytes.
    pub size: u64,
    /// Inode, or the closest thing the system has.
    pub inode: u64,
    /// Time of the last status change in nanoseconds since the epoch (on Windows: of the last write).
    pub changed_ns: i64,
    /// Permission bits (on Windows: the attributes).
    pub mode: u32,
}

/// Which file it is, whatever it is called: true for as long as somebody has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity(u64, u64);

/// What the kernel, where it can, sends to a child whose supervisor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentDeath {
    /// End at once: nothing is worth finishing.
    Kill,
    /// Go on, should it have been stopped: it sees by itself that the supervisor is gone, and has something to tidy up.
    Wake,
}

/// What became of processes that were to end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The ids of those that ended.
    pub ended: Vec<u32>,
    /// The ids of those that did not, in the time they had or because they may not be signalled.
    pub left: Vec<u32>,
}

/// Reads a small file that anybody may have put there: at most `most` bytes, and nothing that could keep us waiting.
///
/// # Errors
/// It cannot be read, is no file, or is larger.
pub fn read_small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let refuse =
        |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is {what}", path.display()));
    // Asked before it is opened: opening a pipe waits for whoever writes to it.
    if !fs_err::metadata(path)?.is_file() {
        return Err(refuse("not a file"));
    }
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(refuse("too large")) } else { Ok(bytes) }
}

/// Fills `buffer` with bytes nobody can guess.
///
/// # Errors
/// The system has no randomness to give.
pub fn random(buffer: &mut [u8]) -> io::Result<()> {
    getrandom::fill(buffer).map_err(io::Error::from)
}

/// Maps `file` read-only into memory.
///
/// # Errors
/// What the system says of the mapping; an empty file cannot be mapped.
pub fn map(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only, and the files we map are executables: they are replaced by rename and never
    // truncated or written in place, by us or by any packager we know of. A foreign truncation ends in SIGBUS, which
    // is the same answer the system gives when it truncates the code that is running.
    unsafe { memmap2::Mmap::map(file) }
}
