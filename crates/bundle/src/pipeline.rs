//! The decoding pipeline: contents out of frames, decoded in parallel, each content hashed in the same pass that hands it on.
//!
//! Frames are claimed in order by a few threads. The bytes of a decoded frame go to the sinks of their contents at once, in any
//! order. The hash of a content needs them in order: a thread that has the next bytes hashes them, a thread that is early
//! parks its buffer and decodes on. The thread with the oldest frame never parks, so one thread always makes progress, and
//! the other threads wait while too much is parked, so memory is bounded.
//!
//! Frames that hold nothing of the requested contents are not read, so one file out of a large bundle is cheap.

use crate::carrier::Carrier;
use crate::digest::Digest;
use crate::error::{BundleError, Damage};
use crate::index::{Component, FileEntry, Frame};
use crate::offset::ContentOffset;
use crate::tree_path::TreePath;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// More threads gain nothing: by then the file system is the bottleneck.
const MAX_THREADS: usize = 8;
/// Parts of a content of at most this size may be decoded far from each other.
const MAX_SPLIT_CONTENT: u64 = 2 << 20;
/// How many decoded bytes may wait for their turn to be hashed.
const MAX_PARKED: usize = 16 << 20;

/// Receives one content.
pub(crate) trait Sink: Send + Sync {
    /// Takes bytes of the content that begin at `offset` in it. Called from several threads, in any order, once for each byte.
    ///
    /// # Errors
    /// Any error ends the whole run.
    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), BundleError>;

    /// Called once, after all bytes were taken and their digest was found to be right.
    fn complete(&self) -> Result<(), BundleError>;
}

/// A content to be read: the part of the content stream that is one file, and its sink.
pub(crate) struct Content<S> {
    pub(crate) path: TreePath,
    range: Range<ContentOffset>,
    digest: Digest,
    pub(crate) sink: S,
    state: Mutex<State>,
}

impl<S: Sink> Content<S> {
    /// The content of `file`, to be handed to `sink`.
    pub(crate) fn of(file: &FileEntry<'_>, sink: S) -> Self {
        Self {
            path: file.path.clone(),
            range: file.range(),
            digest: file.digest,
            sink,
            state: Mutex::new(State::new()),
        }
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The progress of a content.
struct State {
    /// `None` while a thread hashes: it takes the hasher with it, so that others can park their parts meanwhile.
    hasher: Option<blake3::Hasher>,
    hashed: u64,
    /// Bytes that came before their turn, by their place in the content.
    parked: BTreeMap<u64, (Arc<Vec<u8>>, Range<usize>)>,
    /// Whether a part of it was in a frame that could not be decoded.
    is_lost: bool,
}

/// Damage that was found while reading.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A frame could not be decoded.
    Frame {
        /// Position of the frame in the component's list.
        number: usize,
        /// Part of the content stream that is lost with it.
        range: Range<ContentOffset>,
        /// Why it could not be decoded.
        error: BundleError,
    },
    /// The frames were decoded, but the digest of a content differs.
    Content {
        /// Path of the file.
        path: TreePath,
    },
}

impl Fault {
    fn into_error(self, carrier: &Carrier) -> BundleError {
        match self {
            Self::Frame { error, .. } => error,
            Self::Content { path } => {
                carrier.error(Damage::new(format!("the content of `{path}` does not match its digest")))
            }
        }
    }
}

/// Reads `contents` of `component` and stops at the first fault. `advance` is called with the number of decoded bytes.
///
/// # Errors
/// The first fault, or the first error of a sink.
pub(crate) fn read<S: Sink>(
    carrier: &Carrier,
    component: &Component,
    contents: Vec<Content<S>>,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<(), BundleError> {
    match run(carrier, component, contents, true, advance)?.into_iter().next() {
        Some(fault) => Err(fault.into_error(carrier)),
        None => Ok(()),
    }
}

/// Reads `contents` of `component` to the end, whatever is damaged. Returns every fault: the frames in their order, then the
/// contents in the order of the content stream.
///
/// # Errors
/// The first error of a sink.
pub(crate) fn read_all<S: Sink>(
    carrier: &Carrier,
    component: &Component,
    contents: Vec<Content<S>>,
) -> Result<Vec<Fault>, BundleError> {
    run(carrier, component, contents, false, &|_| ())
}

fn run<S: Sink>(
    carrier: &Carrier,
    component: &Component,
    mut contents: Vec<Content<S>>,
    stops_at_fault: bool,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Fault>, BundleError> {
    contents
        .sort_by(|a, b| (a.range.start, a.range.end, &a.path).cmp(&(b.range.start, b.range.end, &b.path)));
    let jobs = jobs(component, &contents);
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(jobs.len());
    let work = Work {
        carrier,
        contents: &contents,
        jobs: &jobs,
        stops_at_fault,
        next: AtomicUsize::new(0),
        is_stopped: AtomicBool::new(false),
        parked: Mutex::new(0),
        unparked: Condvar::new(),
        spare: Mutex::new(Vec::new()),
        faults: Mutex::new(Vec::new()),
        failure: Mutex::new(None),
        advance,
    };
    work.finish_empty_contents();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work.run());
        }
        work.run();
    });
    if let Some(failure) = into_inner(work.failure) {
        return Err(failure);
    }
    let mut faults = into_inner(work.faults);
    faults.sort_by_key(|(order, _)| *order);
    Ok(faults.into_iter().map(|(_, fault)| fault).collect())
}

/// A frame, and which of its bytes belong to which content.
struct Job {
    /// Position of the frame in the component's list.
    number: usize,
    frame: Frame,
    /// Part of the content stream that the frame decodes to.
    range: Range<ContentOffset>,
    parts: Vec<Part>,
}

/// The bytes of a decoded frame that belong to one content.
struct Part {
    /// Position of the content in the list of contents.
    content: usize,
    /// Where the bytes begin in the content.
    offset: u64,
    /// Where the bytes lie in the decoded frame.
    range: Range<usize>,
}

/// The frames that hold bytes of `contents`, which are sorted by their place in the content stream.
fn jobs<S: Sink>(component: &Component, contents: &[Content<S>]) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut start = ContentOffset::ZERO;
    let mut open: Vec<usize> = Vec::new();
    let mut next = 0;
    for (number, frame) in component.frames.iter().enumerate() {
        let end = start + frame.raw;
        while contents.get(next).is_some_and(|content| content.range.start < end) {
            open.push(next);
            next += 1;
        }
        open.retain(|content| contents[*content].range.end > start);
        let parts: Vec<Part> = open
            .iter()
            .map(|&index| {
                let content = &contents[index].range;
                let (from, to) = (content.start.max(start), content.end.min(end));
                Part {
                    content: index,
                    offset: from - content.start,
                    range: in_frame(from - start)..in_frame(to - start),
                }
            })
            .collect();
        if !parts.is_empty() {
            jobs.push(Job { number, frame: *frame, range: start..end, parts });
        }
        start = end;
    }
    in_two_strands(jobs, contents)
}

/// A place in a decoded frame.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a frame has at most 16 MiB, by the limits of the format"
)]
fn in_frame(offset: u64) -> usize {
    offset as usize
}

/// Reorders `jobs` so that neighbours come from two halves of the stream: two threads that write the same large file wait
/// for each other in the kernel. Within a half the order stays. The second part of a content that crosses the border would be
/// parked until the first half is done, so the border is placed where only a small content crosses it.
fn in_two_strands<S: Sink>(jobs: Vec<Job>, contents: &[Content<S>]) -> Vec<Job> {
    let total: u64 = jobs.iter().map(|job| job.frame.raw).sum();
    let mut before = 0;
    let mut best = None;
    for (at, pair) in jobs.windows(2).enumerate() {
        before += pair[0].frame.raw;
        let crossing = pair[1].parts.iter().find(|part| part.offset > 0);
        if crossing.is_none_or(|part| contents[part.content].len() <= MAX_SPLIT_CONTENT) {
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

/// The order in which faults are reported: frames by number, then contents by their place in the list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FaultOrder {
    Frame(usize),
    Content(usize),
}

struct Work<'a, S> {
    carrier: &'a Carrier,
    contents: &'a [Content<S>],
    jobs: &'a [Job],
    stops_at_fault: bool,
    next: AtomicUsize,
    is_stopped: AtomicBool,
    parked: Mutex<usize>,
    unparked: Condvar,
    spare: Mutex<Vec<Vec<u8>>>,
    faults: Mutex<Vec<(FaultOrder, Fault)>>,
    failure: Mutex<Option<BundleError>>,
    advance: &'a (dyn Fn(u64) + Sync),
}

/// No code here panics while it holds a lock; if a sink does, the thread scope passes the panic on anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Sink> Work<'_, S> {
    /// Contents without bytes are in no frame.
    fn finish_empty_contents(&self) {
        for (index, _) in self.contents.iter().enumerate().filter(|(_, content)| content.len() == 0) {
            if let Err(failure) = self.finish(index, &blake3::Hasher::new()) {
                return self.fail(failure);
            }
        }
    }

    fn run(&self) {
        let mut decoder = match zstd::bulk::Decompressor::new() {
            Ok(decoder) => decoder,
            Err(error) => return self.fail(error.into()),
        };
        while let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.is_stopped() {
                return;
            }
            if let Err(failure) = self.do_job(job, &mut decoder) {
                return self.fail(failure);
            }
            (self.advance)(job.frame.raw);
        }
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        // A thread that waits for room must look again, and leave. Between its look and its wait it holds this lock.
        let _parked = lock(&self.parked);
        self.unparked.notify_all();
    }

    fn fail(&self, failure: BundleError) {
        lock(&self.failure).get_or_insert(failure);
        self.stop();
    }

    fn report(&self, order: FaultOrder, fault: Fault) {
        lock(&self.faults).push((order, fault));
        if self.stops_at_fault {
            self.stop();
        }
    }

    fn do_job(&self, job: &Job, decoder: &mut zstd::bulk::Decompressor<'_>) -> Result<(), BundleError> {
        let mut buffer = lock(&self.spare).pop().unwrap_or_default();
        buffer.resize(in_frame(job.frame.raw), 0);
        if let Err(error) = self.carrier.decode(&job.frame, decoder, &mut buffer) {
            let fault = Fault::Frame { number: job.number, range: job.range.clone(), error };
            self.report(FaultOrder::Frame(job.number), fault);
            lock(&self.spare).push(buffer);
            for part in &job.parts {
                self.lose(&self.contents[part.content]);
            }
            return Ok(());
        }
        let buffer = Arc::new(buffer);
        for part in &job.parts {
            self.contents[part.content].sink.write(&buffer[part.range.clone()], part.offset)?;
            self.hash(part, &buffer)?;
        }
        self.recycle(buffer);
        // Only after all parts of the frame are handed on: another thread may be waiting for them.
        self.wait_for_room();
        Ok(())
    }

    /// Hashes a part if it is next, and the parts that were parked behind it; else parks it.
    fn hash(&self, part: &Part, buffer: &Arc<Vec<u8>>) -> Result<(), BundleError> {
        let content = &self.contents[part.content];
        let mut state = lock(&content.state);
        if state.is_lost {
            return Ok(());
        }
        let is_next = part.offset == state.hashed;
        let Some(mut hasher) = state.hasher.take_if(|_| is_next) else {
            // Counted before another thread can take it out again.
            *lock(&self.parked) += part.range.len();
            state.parked.insert(part.offset, (Arc::clone(buffer), part.range.clone()));
            return Ok(());
        };
        let mut next = Some((Arc::clone(buffer), part.range.clone()));
        let mut is_own = true;
        while let Some((bytes, range)) = next {
            drop(state);
            hasher.update(&bytes[range.clone()]);
            if !std::mem::take(&mut is_own) {
                self.unpark(bytes, &range);
            }
            state = lock(&content.state);
            if state.is_lost {
                return Ok(());
            }
            state.hashed += range.len() as u64;
            next = state.next_parked();
        }
        if state.hashed == content.len() {
            drop(state);
            return self.finish(part.content, &hasher);
        }
        state.hasher = Some(hasher);
        Ok(())
    }

    /// All bytes are handed on and hashed: compares the digest.
    fn finish(&self, index: usize, hasher: &blake3::Hasher) -> Result<(), BundleError> {
        let content = &self.contents[index];
        if Digest::from(hasher.finalize()) == content.digest {
            return content.sink.complete();
        }
        self.report(FaultOrder::Content(index), Fault::Content { path: content.path.clone() });
        Ok(())
    }

    /// Gives a content up: it has bytes in a frame that could not be decoded.
    fn lose(&self, content: &Content<S>) {
        let mut state = lock(&content.state);
        state.is_lost = true;
        for (bytes, range) in std::mem::take(&mut state.parked).into_values() {
            self.unpark(bytes, &range);
        }
    }

    fn unpark(&self, bytes: Arc<Vec<u8>>, range: &Range<usize>) {
        *lock(&self.parked) -= range.len();
        self.unparked.notify_all();
        self.recycle(bytes);
    }

    /// Waits while too much is parked.
    fn wait_for_room(&self) {
        let mut total = lock(&self.parked);
        while *total > MAX_PARKED && !self.is_stopped() {
            total = self.unparked.wait(total).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps the memory of a buffer that no other thread reads: fresh pages cost as much as decoding into them.
    fn recycle(&self, buffer: Arc<Vec<u8>>) {
        if let Ok(buffer) = Arc::try_unwrap(buffer) {
            lock(&self.spare).push(buffer);
        }
    }
}

impl State {
    fn new() -> Self {
        Self { hasher: Some(blake3::Hasher::new()), hashed: 0, parked: BTreeMap::new(), is_lost: false }
    }

    /// Takes the parked bytes that are next in the content.
    fn next_parked(&mut self) -> Option<(Arc<Vec<u8>>, Range<usize>)> {
        self.parked.remove(&self.hashed)
    }
}
