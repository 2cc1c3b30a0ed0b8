//! A component proves that it works before it is packed: its entrypoint is run with the arguments its manifest names, in
//! an empty environment, with an empty home.
//!
//! What misses something there, it misses on every machine it would be unpacked on.

use crate::carriers::format_of;
use crate::error::BundleError;
use crate::manifest::Manifest;
use fs_err as fs;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than this no check may take.
const DEADLINE: Duration = Duration::from_secs(300);
/// How often the check is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How much of what a failed check said is repeated.
const TAIL: u64 = 2000;

/// What came of a component's own check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfCheck {
    /// It passed.
    Passed,
    /// Its manifest names none.
    None,
    /// Its entrypoint is for another system, so it cannot run here.
    Foreign,
    /// It was not wanted.
    NotWanted,
}

/// Runs the check of the tree at `dir`.
///
/// # Errors
/// [`BundleError::Refused`] if it fails, with what it said last.
pub(super) fn run(dir: &Path, manifest: &Manifest) -> Result<SelfCheck, BundleError> {
    let Some(args) = &manifest.self_check else {
        return Ok(SelfCheck::None);
    };
    let dir = fs::canonicalize(dir)?;
    let program = manifest.entrypoint.below(&dir);
    if !runs_here(&program)? {
        return Ok(SelfCheck::Foreign);
    }
    let refuse = |reason: String| BundleError::Refused { path: program.clone(), reason };
    let home = tempfile::tempdir()?;
    let mut said = tempfile::tempfile()?;
    let mut command = Command::new(&program);
    command
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?);
    let mut child =
        start(&mut command).map_err(|e| refuse(format!("its self-check cannot be started: {e}")))?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            return Err(refuse(format!("its self-check did not end within {} seconds", DEADLINE.as_secs())));
        }
        std::thread::sleep(TICK);
    };
    if status.success() {
        return Ok(SelfCheck::Passed);
    }
    let tail = tail(&mut said)?;
    let said = if tail.is_empty() { String::new() } else { format!(", saying:\n{tail}") };
    Err(refuse(format!("its self-check failed ({status}){said}")))
}

/// Starts the check. A program that was written just now may count as busy for a moment, while another process that
/// was being started inherits the file it was written through.
fn start(command: &mut Command) -> io::Result<Child> {
    for _ in 0..50 {
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::sleep(TICK),
            other => return other,
        }
    }
    command.spawn()
}

fn tail(said: &mut std::fs::File) -> io::Result<String> {
    let len = said.seek(io::SeekFrom::End(0))?;
    said.seek(io::SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Whether the program at `path` runs on this system: a script, or an object file of its format and processor.
fn runs_here(path: &Path) -> io::Result<bool> {
    let file = fs::File::open(path)?;
    let Ok(bytes) = stigmer_platform::map(file.file()) else {
        return Ok(false);
    };
    Ok(format_of(&bytes).is_native(&bytes))
}
