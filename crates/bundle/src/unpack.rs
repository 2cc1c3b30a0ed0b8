//! Files out of frames: decoded in parallel, each file hashed in the same pass that writes it.
//!
//! Frames are claimed in order by a few threads. A decoded frame is written at once, wherever its files are, and its bytes
//! then go to each file's hash, which needs them in order: whoever comes with the next bytes hashes them, whoever comes early
//! parks the buffer and decodes on. The thread with the oldest frame never parks, so there is always one that makes progress, and
//! what is parked is bounded by making the others wait for it.
//!
//! Frames that none of the wanted files touches are not even read, which makes one file out of a large bundle cheap.

use super::{BundleError, Carrier, Component, Damage, Digest, Frame, TreePath};
use fs_err as fs;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// More threads than this gain nothing: the file system is busy by then.
const MAX_THREADS: usize = 8;
/// From this size on, a file's room is reserved before it is written.
const PREALLOCATED: u64 = 1 << 20;
/// A file of at most this size may have its parts decoded far from each other.
const SMALL: u64 = 2 << 20;
/// How many decoded bytes may wait for their turn to be hashed.
const MAX_PARKED: usize = 16 << 20;

/// Writes those files of `component` that `wanted` accepts below `root`, whose directories must exist, each with its content
/// checked and the permission bits a stored file has. `advance` is told of decoded bytes.
///
/// # Errors
/// The first failure; what was written until then stays and is the caller's to remove.
pub fn unpack(
    carrier: &Carrier,
    component: &Component,
    root: &Path,
    wanted: &(dyn Fn(&TreePath) -> bool + Sync),
    advance: &(dyn Fn(u64) + Sync),
) -> Result<(), BundleError> {
    let targets = targets(component, root, wanted)?;
    let jobs = jobs(component, &targets);
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(jobs.len());
    let work = Work {
        carrier,
        targets: &targets,
        jobs: &jobs,
        next: AtomicUsize::new(0),
        parked: Mutex::new(0),
        unparked: Condvar::new(),
        spare: Mutex::new(Vec::new()),
        failure: Mutex::new(None),
        advance,
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work.run());
        }
        work.run();
    });
    match work.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// A file to be written.
struct Target {
    path: TreePath,
    full: PathBuf,
    size: u64,
    at: u64,
    digest: Digest,
    mode: u32,
    state: Mutex<State>,
}

impl Target {
    /// What the system says of doing something to it, with its name.
    fn failed(&self, action: &str, error: &std::io::Error) -> BundleError {
        let text = format!("failed to {action} `{}`: {error}", self.full.display());
        BundleError::Io(std::io::Error::new(error.kind(), text))
    }
}

/// How far a file is.
struct State {
    /// Open from the first byte to the last.
    file: Option<Arc<File>>,
    hasher: blake3::Hasher,
    hashed: u64,
    /// Buffers that came before their turn, by their place in the file.
    parked: BTreeMap<u64, (Arc<Vec<u8>>, Range<usize>)>,
}

/// A frame and what of it goes where.
struct Job {
    frame: Frame,
    pieces: Vec<Piece>,
}

struct Piece {
    target: usize,
    /// Place in the file.
    offset: u64,
    /// Place in the decoded frame.
    range: Range<usize>,
}

fn targets(
    component: &Component,
    root: &Path,
    wanted: &(dyn Fn(&TreePath) -> bool + Sync),
) -> Result<Vec<Target>, BundleError> {
    let mut targets = Vec::new();
    for (path, exec, size, at, digest) in component.files().filter(|(path, ..)| wanted(path)) {
        let mode = stigmer_platform::stored_mode(exec);
        let full = path.below(root);
        if size == 0 {
            let file = fs::OpenOptions::new().write(true).create_new(true).open(&full)?;
            stigmer_platform::set_file_mode(file.file(), mode)?;
            continue;
        }
        let state = State { file: None, hasher: blake3::Hasher::new(), hashed: 0, parked: BTreeMap::new() };
        targets.push(Target { path: path.clone(), full, size, at, digest, mode, state: Mutex::new(state) });
    }
    targets.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.path.cmp(&b.path)));
    Ok(targets)
}

/// The frames that hold something of `targets`, which are sorted by their place in the content stream.
fn jobs(component: &Component, targets: &[Target]) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut start = 0_u64;
    let mut open: Vec<usize> = Vec::new();
    let mut next = 0;
    for frame in &component.frames {
        let end = start + frame.raw;
        while targets.get(next).is_some_and(|target| target.at < end) {
            open.push(next);
            next += 1;
        }
        open.retain(|target| targets[*target].at + targets[*target].size > start);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a frame has at most 16 MiB, by the format's limits"
        )]
        let pieces: Vec<Piece> = open
            .iter()
            .map(|&index| {
                let target = &targets[index];
                let (from, to) = (target.at.max(start), (target.at + target.size).min(end));
                let range = (from - start) as usize..(to - start) as usize;
                Piece { target: index, offset: from - target.at, range }
            })
            .collect();
        if !pieces.is_empty() {
            jobs.push(Job { frame: *frame, pieces });
        }
        start = end;
    }
    in_two_strands(jobs, targets)
}

/// Reorders `jobs` so that neighbours come from two strands of the stream: two threads that write the same large file wait for each
/// other in the kernel. Within a strand the order stays. A file that reaches over the border would have its second part parked
/// until the first strand is through, so the border lies where that is a small one.
fn in_two_strands(jobs: Vec<Job>, targets: &[Target]) -> Vec<Job> {
    let total: u64 = jobs.iter().map(|job| job.frame.raw).sum();
    let mut before = 0;
    let mut best = None;
    for (at, pair) in jobs.windows(2).enumerate() {
        before += pair[0].frame.raw;
        let reaches_over = pair[1].pieces.iter().find(|piece| piece.offset > 0);
        if reaches_over.is_none_or(|piece| targets[piece.target].size <= SMALL) {
            let off_centre = before.abs_diff(total / 2);
            if best.is_none_or(|(least, _)| off_centre < least) {
                best = Some((off_centre, at + 1));
            }
        }
    }
    let Some((_, border)) = best else { return jobs };
    let mut first = jobs;
    let mut second = first.split_off(border).into_iter().peekable();
    let mut first = first.into_iter().peekable();
    let (mut done_first, mut done_second) = (0, 0);
    let mut woven = Vec::new();
    loop {
        let takes_first = second.peek().is_none() || (first.peek().is_some() && done_first <= done_second);
        let (strand, done) =
            if takes_first { (&mut first, &mut done_first) } else { (&mut second, &mut done_second) };
        let Some(job) = strand.next() else { return woven };
        *done += job.frame.raw;
        woven.push(job);
    }
}

/// Reserves the room of a file at once: cheaper than block by block, and a full disk shows before anything is decoded in vain.
/// Where that is not possible, writing will tell.
fn reserve(file: &File, target: &Target) -> Result<(), BundleError> {
    match fs2::FileExt::allocate(file, target.size) {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ) =>
        {
            Err(target.failed("reserve room for", &error))
        }
        _ => Ok(()),
    }
}

struct Work<'a> {
    carrier: &'a Carrier,
    targets: &'a [Target],
    jobs: &'a [Job],
    next: AtomicUsize,
    parked: Mutex<usize>,
    unparked: Condvar,
    spare: Mutex<Vec<Vec<u8>>>,
    failure: Mutex<Option<BundleError>>,
    advance: &'a (dyn Fn(u64) + Sync),
}

/// Nothing of ours panics while holding a lock; if something does, the scope passes that panic on anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work<'_> {
    fn run(&self) {
        let mut decoder = match zstd::bulk::Decompressor::new() {
            Ok(decoder) => decoder,
            Err(error) => return self.fail(error.into()),
        };
        while let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if lock(&self.failure).is_some() {
                return;
            }
            if let Err(failure) = self.do_job(job, &mut decoder) {
                return self.fail(failure);
            }
            (self.advance)(job.frame.raw);
        }
    }

    fn fail(&self, failure: BundleError) {
        lock(&self.failure).get_or_insert(failure);
        // Whoever waits for room must look again, and leave. Between its look and its wait it holds this lock.
        let _parked = lock(&self.parked);
        self.unparked.notify_all();
    }

    fn do_job(&self, job: &Job, decoder: &mut zstd::bulk::Decompressor<'_>) -> Result<(), BundleError> {
        let mut buffer = lock(&self.spare).pop().unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a frame has at most 16 MiB, by the format's limits"
        )]
        buffer.resize(job.frame.raw as usize, 0);
        self.carrier.decode(&job.frame, decoder, &mut buffer)?;
        let buffer = Arc::new(buffer);
        for piece in &job.pieces {
            let target = &self.targets[piece.target];
            let file = Self::open(target)?;
            stigmer_platform::write_all_at(&file, &buffer[piece.range.clone()], piece.offset)
                .map_err(|error| target.failed("write", &error))?;
            drop(file);
            self.hash(target, piece, &buffer)?;
        }
        self.give_back(buffer);
        // Not before all of the frame is handed on: somebody may be waiting for its other pieces.
        self.wait_for_room();
        Ok(())
    }

    fn open(target: &Target) -> Result<Arc<File>, BundleError> {
        let mut state = lock(&target.state);
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&target.full)?;
        let file = Arc::new(file.into_parts().0);
        if target.size >= PREALLOCATED {
            reserve(&file, target)?;
        }
        state.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Hashes a piece if it is its turn, and whatever was parked behind it; else parks it.
    fn hash(&self, target: &Target, piece: &Piece, buffer: &Arc<Vec<u8>>) -> Result<(), BundleError> {
        let mut state = lock(&target.state);
        if piece.offset != state.hashed {
            // Counted before anybody can take it out again.
            *lock(&self.parked) += piece.range.len();
            state.parked.insert(piece.offset, (Arc::clone(buffer), piece.range.clone()));
            return Ok(());
        }
        state.hasher.update(&buffer[piece.range.clone()]);
        state.hashed += piece.range.len() as u64;
        while let Some((bytes, range)) = state.hashed_next() {
            state.hasher.update(&bytes[range.clone()]);
            state.hashed += range.len() as u64;
            *lock(&self.parked) -= range.len();
            self.unparked.notify_all();
            self.give_back(bytes);
        }
        if state.hashed == target.size { self.finish(target, &mut state) } else { Ok(()) }
    }

    /// The last byte is written and hashed: compare, set the mode, close.
    fn finish(&self, target: &Target, state: &mut State) -> Result<(), BundleError> {
        if Digest::from(state.hasher.finalize()) != target.digest {
            let what = format!("the content of `{}` does not match its digest", target.path);
            return Err(self.carrier.error(Damage::new(what)));
        }
        if let Some(file) = state.file.take() {
            stigmer_platform::set_file_mode(&file, target.mode)?;
        }
        Ok(())
    }

    /// Waits while too much is parked.
    fn wait_for_room(&self) {
        let mut total = lock(&self.parked);
        while *total > MAX_PARKED && lock(&self.failure).is_none() {
            total = self.unparked.wait(total).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps the memory of a buffer that nobody reads any more: fresh pages cost as much as decoding into them.
    fn give_back(&self, buffer: Arc<Vec<u8>>) {
        if let Ok(buffer) = Arc::try_unwrap(buffer) {
            lock(&self.spare).push(buffer);
        }
    }
}

impl State {
    /// Takes what is parked at the place the hash has come to.
    fn hashed_next(&mut self) -> Option<(Arc<Vec<u8>>, Range<usize>)> {
        self.parked.remove(&self.hashed)
    }
}
