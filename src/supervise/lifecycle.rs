//! One component's life as a pure state machine: events in, one action out, no clock and no process in sight.
//!
//! Time and chance are arguments, so every schedule can be tried in a test. Three rules hold in every phase: a stop wins
//! over everything, what is said after the stop changes nothing, and a process that was started is watched until its
//! end is heard. How often it may come back is counted in `budget` and not in the record of a process, which a
//! restart would wipe.

mod budget;
#[cfg(test)]
pub(super) mod tests;

pub use budget::Policy;

use budget::Budget;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use stigmer_protocol::component::EXIT_CONFIG;

/// Where a component is in its life. `docs/server.md` says what each means for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not started yet: what it depends on is not ready.
    Waiting,
    /// Its process runs and has not said that it is ready.
    Starting,
    /// It can do its work.
    Ready,
    /// Its process lives and no longer answers.
    Unresponsive,
    /// It ended by itself, and is started again after a pause.
    Restarting,
    /// It ended too often within a short time, and is started again after a long pause.
    CrashLooping,
    /// It was asked to end.
    Stopping,
    /// It ended because it was asked to.
    Stopped,
    /// It ended, and starting it again would not help.
    Failed,
}

impl Phase {
    /// Its name, as people and scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unresponsive => "unresponsive",
            Self::Restarting => "restarting",
            Self::CrashLooping => "crash-looping",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether a component in this phase has a process.
    pub fn has_process(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Unresponsive | Self::Stopping)
    }
}

/// What happens to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It may start: what it depends on is ready.
    Start,
    /// It said that it is ready.
    Ready,
    /// What it said is no handshake.
    Refused,
    /// It closed the handshake without a word, or said that it failed. Most likely it is ending.
    Silent,
    /// It was ready, and no longer answers.
    Withdraw,
    /// It answers again.
    Restore,
    /// The machine has slept: the time that passed says nothing about who was silent in it.
    Slept,
    /// Its process ended, or could not be started; with the exit code, if there is one.
    Ended(Option<i32>),
    /// Time has passed. It counts only if what [`Lifecycle::timer`] names has come.
    Timer,
    /// It shall end.
    Stop,
    /// It shall end at once, without being asked.
    StopNow,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Start its process.
    Spawn,
    /// Ask its process to end.
    Terminate,
    /// End its process and all that it started.
    Kill(Because),
}

/// Why a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It was not ready in time.
    NotReady,
    /// It did not answer for too long.
    Hung,
    /// It was asked to end and did not.
    NotEnded,
    /// Nobody has time to wait for its end.
    AtOnce,
}

/// A component's life.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    policy: Policy,
    phase: Phase,
    timer: Option<Instant>,
    /// From when on the present process has been ready without a break.
    ready_since: Option<Instant>,
    restarts: u32,
    budget: Budget,
    /// Why its process was killed, while its end is awaited.
    killed: Option<Because>,
}

impl Lifecycle {
    /// A life that has not begun.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            phase: Phase::Waiting,
            timer: None,
            ready_since: None,
            restarts: 0,
            budget: Budget::default(),
            killed: None,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether it has ended too often lately, and has not been ready for long enough since.
    pub fn is_looping(&self) -> bool {
        self.budget.is_looping()
    }

    /// When [`Event::Timer`] is due.
    pub fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// When it is started again, if it waits for that.
    pub fn next_start(&self) -> Option<Instant> {
        self.timer.filter(|_| matches!(self.phase, Phase::Restarting | Phase::CrashLooping))
    }

    /// Takes note of `event`, and says what is to be done. `chance` is in 0..1.
    pub fn on(&mut self, event: Event, now: Instant, chance: f64) -> Action {
        match (self.phase, event) {
            (_, Event::Timer) => self.time(now),
            (Phase::Waiting, Event::Start) => self.spawn(now),
            (Phase::Starting, Event::Ready) | (Phase::Unresponsive, Event::Restore)
                if self.killed.is_none() =>
            {
                self.ready(now)
            }
            (Phase::Starting, Event::Refused) => {
                self.timer = Some(now + self.policy.refusal_grace);
                Action::Terminate
            }
            (Phase::Starting, Event::Silent) => {
                self.timer = Some(now + self.policy.refusal_grace);
                Action::None
            }
            (Phase::Ready, Event::Withdraw) => {
                if self.is_proven(now) {
                    self.budget.forgive();
                }
                self.ready_since = None;
                self.enter(Phase::Unresponsive, self.hang_deadline(now))
            }
            (Phase::Unresponsive, Event::Slept) if self.killed.is_none() => {
                self.timer = self.hang_deadline(now);
                Action::None
            }
            (Phase::Starting | Phase::Ready | Phase::Unresponsive, Event::Ended(Some(EXIT_CONFIG))) => {
                self.enter(Phase::Failed, None)
            }
            (Phase::Starting | Phase::Ready | Phase::Unresponsive, Event::Ended(_)) => {
                self.pause(now, chance)
            }
            (Phase::Starting | Phase::Ready | Phase::Unresponsive, Event::Stop) => {
                self.enter(Phase::Stopping, Some(now + self.policy.stop_timeout));
                Action::Terminate
            }
            (phase, Event::StopNow) if phase.has_process() => {
                self.enter(Phase::Stopping, None);
                self.kill(Because::AtOnce, now)
            }
            (
                Phase::Waiting | Phase::Restarting | Phase::CrashLooping | Phase::Failed,
                Event::Stop | Event::StopNow,
            )
            | (Phase::Stopping, Event::Ended(_)) => self.enter(Phase::Stopped, None),
            _ => Action::None,
        }
    }

    /// The time has come, or not yet.
    fn time(&mut self, now: Instant) -> Action {
        if self.timer.is_none_or(|due| now < due) {
            return Action::None;
        }
        match self.phase {
            Phase::Restarting | Phase::CrashLooping => {
                self.restarts = self.restarts.saturating_add(1);
                self.spawn(now)
            }
            Phase::Ready => {
                self.budget.forgive();
                self.timer = None;
                Action::None
            }
            Phase::Starting => self.kill(Because::NotReady, now),
            Phase::Unresponsive => self.kill(Because::Hung, now),
            Phase::Stopping => self.kill(Because::NotEnded, now),
            Phase::Waiting | Phase::Stopped | Phase::Failed => {
                self.timer = None;
                Action::None
            }
        }
    }

    fn spawn(&mut self, now: Instant) -> Action {
        self.enter(Phase::Starting, Some(now + self.policy.start_timeout));
        Action::Spawn
    }

    /// A kill is repeated until the end is heard: a process that starts others all the time can escape one.
    fn kill(&mut self, because: Because, now: Instant) -> Action {
        self.killed = Some(because);
        self.timer = Some(now + self.policy.kill_again);
        Action::Kill(because)
    }

    fn ready(&mut self, now: Instant) -> Action {
        self.ready_since = Some(now);
        let forgiven = self.budget.is_looping().then(|| now + self.policy.proven_after);
        self.enter(Phase::Ready, forgiven)
    }

    fn hang_deadline(&self, now: Instant) -> Option<Instant> {
        self.policy.hang_timeout.map(|timeout| now + timeout)
    }

    fn pause(&mut self, now: Instant, chance: f64) -> Action {
        if self.is_proven(now) {
            self.budget.forgive();
        }
        let pause = self.budget.spend(&self.policy, now, chance);
        let phase = if self.budget.is_looping() { Phase::CrashLooping } else { Phase::Restarting };
        self.enter(phase, Some(now + pause))
    }

    fn is_proven(&self, now: Instant) -> bool {
        self.ready_since.is_some_and(|since| now.saturating_duration_since(since) >= self.policy.proven_after)
    }

    fn enter(&mut self, phase: Phase, timer: Option<Instant>) -> Action {
        self.phase = phase;
        self.timer = timer;
        self.killed = None;
        if !matches!(phase, Phase::Ready | Phase::Unresponsive) {
            self.ready_since = None;
        }
        Action::None
    }
}
