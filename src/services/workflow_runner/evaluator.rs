//! Threads that evaluate expressions: they have the deep stack that this needs, and keep the runtime's thread free.

use crate::workflow::evaluation::{EVALUATION_TIMEOUT, STACK_BYTES};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A thread without work ends after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest number of threads.
const MAX_THREADS: usize = 4;

type Job = Box<dyn FnOnce(&Arc<AtomicBool>) + Send>;

/// A pool of threads with deep stacks.
#[derive(Clone)]
pub(super) struct Evaluator(Arc<Pool>);

struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    max_threads: usize,
    /// Longest time of one evaluation.
    timeout: Duration,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Evaluator {
    pub(super) fn new() -> Self {
        Self::with_timeout(EVALUATION_TIMEOUT)
    }

    fn with_timeout(timeout: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let max_threads = processors.clamp(1, MAX_THREADS);
        Self(Arc::new(Pool { state: Mutex::default(), changed: Condvar::new(), max_threads, timeout }))
    }

    /// Does work on one of the threads. A thread that takes longer than [`EVALUATION_TIMEOUT`] is abandoned and replaced.
    ///
    /// # Errors
    /// No thread can be started, the work took too long, or it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let (started, start) = oneshot::channel();
        let (done, result) = oneshot::channel();
        self.0.submit(Box::new(move |is_abandoned| {
            let _ = started.send(Arc::clone(is_abandoned));
            let _ = done.send(work());
        }))?;
        let Ok(is_abandoned) = start.await else { return Err(panicked()) };
        if let Ok(result) = tokio::time::timeout(self.0.timeout, result).await {
            return result.map_err(|_| panicked());
        }
        self.0.abandon(&is_abandoned);
        Err(format!("timed out after {} s", self.0.timeout.as_secs()))
    }
}

fn panicked() -> String {
    "the evaluation panicked".to_owned()
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        // No change is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, job: Job) -> Result<(), String> {
        let mut state = self.state();
        state.jobs.push_back(job);
        self.changed.notify_one();
        if state.jobs.len() <= state.idle || state.threads >= self.max_threads {
            return Ok(());
        }
        match self.spawn() {
            Ok(()) => state.threads += 1,
            Err(error) if state.threads == 0 => {
                state.jobs.pop_back();
                return Err(format!("cannot start a thread: {error}"));
            }
            // The threads that there are do the work.
            Err(_) => {}
        }
        Ok(())
    }

    fn spawn(self: &Arc<Self>) -> std::io::Result<()> {
        let pool = Arc::clone(self);
        let builder = std::thread::Builder::new().name("evaluator".to_owned()).stack_size(STACK_BYTES);
        builder.spawn(move || pool.work()).map(drop)
    }

    fn work(&self) {
        let is_abandoned = Arc::new(AtomicBool::new(false));
        while let Some(job) = self.next() {
            let _ = catch_unwind(AssertUnwindSafe(|| job(&is_abandoned)));
            if is_abandoned.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Waits for a job. `None` if the thread is to end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        state.idle += 1;
        let waited = self.changed.wait_timeout_while(state, IDLE_TIMEOUT, |state| state.jobs.is_empty());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.idle -= 1;
        let job = state.jobs.pop_front();
        if job.is_none() {
            state.threads -= 1;
        }
        job
    }

    /// Stops counting a thread, and replaces it if there is more work.
    fn abandon(self: &Arc<Self>, is_abandoned: &AtomicBool) {
        let mut state = self.state();
        if is_abandoned.swap(true, Ordering::SeqCst) {
            return;
        }
        state.threads -= 1;
        if !state.jobs.is_empty() && self.spawn().is_ok() {
            state.threads += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_few_threads_and_a_panic_is_an_error() {
        let evaluator = Evaluator::new();
        let jobs = (0..50).map(|n| evaluator.run(move || n * 2));
        let results = futures_util::future::join_all(jobs).await;
        assert_eq!(results, (0..50).map(|n| Ok(n * 2)).collect::<Vec<_>>());
        assert!(evaluator.0.state().threads <= evaluator.0.max_threads);
        let panic = evaluator.run(|| std::panic::resume_unwind(Box::new("on purpose"))).await;
        assert_eq!(panic, Err::<(), _>("the evaluation panicked".to_owned()));
        assert_eq!(evaluator.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn a_thread_that_takes_too_long_is_replaced() {
        let evaluator = Evaluator::with_timeout(Duration::from_millis(50));
        let gates: Vec<_> = (0..evaluator.0.max_threads).map(|_| std::sync::mpsc::channel::<()>()).collect();
        let (open, closed): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let stuck = closed.into_iter().map(|gate| evaluator.run(move || gate.recv()));
        let late = futures_util::future::join_all(stuck).await;
        assert!(late.iter().all(|result| result.as_ref().is_err_and(|error| error.contains("timed out"))));
        assert_eq!(evaluator.0.state().threads, 0);
        assert_eq!(evaluator.run(|| 1).await, Ok(1));
        drop(open);
    }
}
