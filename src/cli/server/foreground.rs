//! Running in the foreground: for a terminal, a container, or a service manager.

use super::phases::Phases;
use super::{Output, logs, start};
use crate::cli::Outcome;
use crate::cli::progress::Shown;
use crate::home::Home;
use crate::supervise::LaunchEvent;
use crate::supervise::components::Components;
use crate::supervise::launch::{self, StartRequest};
use crate::supervise::logs::watch::Watch;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time limit for printing the last lines: a terminal can be held.
const PRINT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the platform in this process until somebody ends it, and shows what its components say.
pub(super) fn run(home: &Home, components: Components, request: &StartRequest, output: Output) -> Outcome {
    let began = Instant::now();
    let mut phases = Phases::still(output);
    let printer = Printer::new(home, components, output);
    let ready = printer.ready.clone();
    let mut stopping = false;
    let observe = move |event: &LaunchEvent| {
        manager::tell(event);
        match event {
            LaunchEvent::Up(status) => {
                if output.is_json() {
                    // That nobody reads it is no reason to end.
                    let _ = start::report(output, status, None);
                } else {
                    let url = status.url.as_deref().unwrap_or_default();
                    output.note(format_args!("  all ready after {} ms", began.elapsed().as_millis()));
                    output.note(format_args!("stigmer is up at {url}; Ctrl-C stops it"));
                }
                let _ = ready.send(());
            }
            LaunchEvent::Stopping { waiting_for } if !output.is_json() => {
                let names = waiting_for.join(", ");
                if !stopping {
                    output.note(format_args!("stopping {names} (Ctrl-C again ends everything at once)"));
                } else if !names.is_empty() {
                    output.note(format_args!("waiting for {names}"));
                }
                stopping = true;
            }
            event => phases.show(event),
        }
    };
    let outcome = launch::foreground(home, components, request, &Shown::new(output), Box::new(observe));
    printer.finish();
    outcome?;
    if !output.is_json() {
        output.note("stopped");
    }
    Ok(0)
}

/// Prints what the components say. In a thread of its own, because a terminal can be held and a pipe can be full, and the
/// supervisor must not wait for either.
struct Printer {
    /// Everything is ready: there is something to print. If that is never so, nothing is.
    ready: mpsc::Sender<()>,
    ended: Arc<AtomicBool>,
    waker: mpsc::SyncSender<()>,
    done: mpsc::Receiver<()>,
}

impl Printer {
    fn new(home: &Home, components: Components, output: Output) -> Self {
        let (ready, words) = mpsc::channel();
        let (printed, done) = mpsc::channel();
        // From here on, so that what is said before everything is ready is printed as well.
        let mut watch = Watch::new(&home.logs());
        let following = logs::Following::new(home, components, output);
        let ended = Arc::new(AtomicBool::new(false));
        let (waker, is_over) = (watch.waker(), ended.clone());
        std::thread::spawn(move || {
            let _printed = printed;
            // Logs that cannot be read are no reason not to run.
            let Ok(mut following) = following else { return };
            if words.recv().is_err() {
                return;
            }
            loop {
                // Asked first: what was said before the end is printed.
                let is_last = is_over.load(Ordering::SeqCst);
                if following.show().is_err() || is_last {
                    return;
                }
                watch.wait();
            }
        });
        Self { ready, ended, waker, done }
    }

    /// Returns when the last lines are printed.
    fn finish(self) {
        drop(self.ready);
        self.ended.store(true, Ordering::SeqCst);
        // If it is full, the thread has something to look at, and sees the end as well.
        let _ = self.waker.try_send(());
        // Nothing is ever sent: the end of the thread is the answer.
        let _ = self.done.recv_timeout(PRINT_TIMEOUT);
    }
}

/// The service manager that started us, if it wants to know: `NOTIFY_SOCKET`, as `sd_notify(3)` has it.
#[cfg(target_os = "linux")]
mod manager {
    use crate::supervise::LaunchEvent;
    use sd_notify::{NotifyState, notify};

    /// Tells it. That it does not hear is its own affair.
    pub(super) fn tell(event: &LaunchEvent) {
        let status = |text: &str| {
            let _ = notify(&[NotifyState::Status(text)]);
        };
        match event {
            LaunchEvent::Preparing { component } => status(&format!("preparing {component}")),
            LaunchEvent::Starting { component } => status(&format!("starting {component}")),
            LaunchEvent::Up(up) => {
                let text = format!("up at {}", up.url.as_deref().unwrap_or_default());
                let _ = notify(&[NotifyState::Ready, NotifyState::Status(&text)]);
            }
            LaunchEvent::Stopping { waiting_for } => {
                let text = format!("stopping: waiting for {}", waiting_for.join(", "));
                let _ = notify(&[NotifyState::Stopping, NotifyState::Status(&text)]);
            }
            LaunchEvent::Failed(failure) => {
                status(&format!("{} did not start: {}", failure.component, failure.reason));
            }
            LaunchEvent::Listening { .. } | LaunchEvent::Ready { .. } => {}
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod manager {
    /// No other system has one that could be told.
    pub(super) fn tell(_event: &crate::supervise::LaunchEvent) {}
}
