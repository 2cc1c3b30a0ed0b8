//! One component's life as a pure state machine: events in, one action out, no clock and no process in sight.
//!
//! Time and chance are arguments, so every schedule can be tried in a test. Two rules hold in every phase: a stop wins
//! over everything, and what is said after the stop changes nothing. The count of restarts lives here and not in
//! the record of a process, which a restart would wipe.

use super::protocol::EXIT_CONFIG;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Where a component is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not started yet: what it depends on is not ready.
    Waiting,
    /// Its process runs and has not said that it is ready.
    Starting,
    /// It can do its work.
    Ready,
    /// It ended by itself, and is started again after a pause.
    Backoff,
    /// It was asked to end.
    Stopping,
    /// It ended because it was asked to.
    Stopped,
    /// It ended, and starting it again would not help.
    Failed,
}

/// What happens to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It may start: what it depends on is ready.
    Start,
    /// It said that it is ready.
    Ready,
    /// It said that it cannot become ready.
    Refused,
    /// It closed the handshake without a word. Most likely it is ending.
    Silent,
    /// Its process ended, or could not be started; with the exit code, if there is one.
    Ended(Option<i32>),
    /// The time that was set has come.
    Timer,
    /// It shall end.
    Stop,
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
    Kill,
}

/// The times that govern a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long it may take to become ready.
    pub start_timeout: Duration,
    /// How long it may take to end after it was asked to.
    pub stop_timeout: Duration,
    /// The first pause before a restart; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Ready for so long, and the next pause is the first one again.
    pub proven_after: Duration,
    /// How long a component that says it failed may take to end.
    pub refusal_grace: Duration,
}

impl Policy {
    /// The policy with these two limits and the usual pauses.
    pub fn new(start_timeout: Duration, stop_timeout: Duration) -> Self {
        Self {
            start_timeout,
            stop_timeout,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            proven_after: Duration::from_secs(60),
            refusal_grace: Duration::from_secs(2),
        }
    }

    /// The pause before a restart after `failures` in a row. `chance` in 0..1 takes off up to a quarter, so
    /// that components that ended together do not start together.
    fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doubled = self.first_pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.longest_pause).mul_f64(1.0 - 0.25 * chance.clamp(0.0, 1.0))
    }
}

/// A component's life.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    policy: Policy,
    phase: Phase,
    since: Instant,
    timer: Option<Instant>,
    restarts: u32,
    failures: u32,
}

impl Lifecycle {
    /// A life that has not begun.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self { policy, phase: Phase::Waiting, since: now, timer: None, restarts: 0, failures: 0 }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// When [`Event::Timer`] is due.
    pub fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// Takes note of `event`, and says what is to be done.
    pub fn on(&mut self, event: Event, now: Instant, chance: f64) -> Action {
        match (self.phase, event) {
            (Phase::Waiting, Event::Start) => self.spawn(now),
            (Phase::Starting, Event::Ready) => self.enter(Phase::Ready, now, None, Action::None),
            (Phase::Starting, Event::Refused) => {
                self.timer = Some(now + self.policy.refusal_grace);
                Action::Terminate
            }
            (Phase::Starting, Event::Silent) => {
                self.timer = Some(now + self.policy.refusal_grace);
                Action::None
            }
            (Phase::Starting | Phase::Ready, Event::Ended(Some(EXIT_CONFIG))) => {
                self.enter(Phase::Failed, now, None, Action::None)
            }
            (Phase::Starting | Phase::Ready, Event::Ended(_)) => self.pause(now, chance),
            (Phase::Backoff, Event::Timer) => {
                self.restarts = self.restarts.saturating_add(1);
                self.spawn(now)
            }
            (Phase::Starting | Phase::Ready, Event::Stop) => {
                let deadline = now + self.policy.stop_timeout;
                self.enter(Phase::Stopping, now, Some(deadline), Action::Terminate)
            }
            (Phase::Waiting | Phase::Backoff | Phase::Failed, Event::Stop)
            | (Phase::Stopping, Event::Ended(_)) => self.enter(Phase::Stopped, now, None, Action::None),
            (Phase::Starting | Phase::Stopping, Event::Timer) => {
                self.timer = None;
                Action::Kill
            }
            _ => Action::None,
        }
    }

    fn spawn(&mut self, now: Instant) -> Action {
        let deadline = now + self.policy.start_timeout;
        self.enter(Phase::Starting, now, Some(deadline), Action::Spawn)
    }

    fn pause(&mut self, now: Instant, chance: f64) -> Action {
        let proven = self.phase == Phase::Ready
            && now.saturating_duration_since(self.since) >= self.policy.proven_after;
        self.failures = if proven { 1 } else { self.failures.saturating_add(1) };
        let due = now + self.policy.pause(self.failures, chance);
        self.enter(Phase::Backoff, now, Some(due), Action::None)
    }

    fn enter(&mut self, phase: Phase, now: Instant, timer: Option<Instant>, action: Action) -> Action {
        self.phase = phase;
        self.since = now;
        self.timer = timer;
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> Policy {
        Policy::new(Duration::from_secs(60), Duration::from_secs(10))
    }

    fn ready(now: Instant) -> Lifecycle {
        let mut life = Lifecycle::new(policy(), now);
        assert_eq!(life.on(Event::Start, now, 0.0), Action::Spawn);
        assert_eq!(life.on(Event::Ready, now, 0.0), Action::None);
        assert_eq!(life.phase(), Phase::Ready);
        life
    }

    #[test]
    fn a_crash_is_answered_by_restarts_with_growing_pauses() {
        let mut now = Instant::now();
        let mut life = ready(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(life.on(Event::Ended(Some(1)), now, 0.0), Action::None);
            let due = life.timer().expect("a pause has an end");
            pauses.push(due.duration_since(now).as_millis());
            now = due;
            assert_eq!(life.on(Event::Timer, now, 0.0), Action::Spawn);
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(life.restarts(), 8);
    }

    #[test]
    fn a_minute_of_readiness_makes_the_pause_short_again() {
        let mut now = Instant::now();
        let mut life = ready(now);
        for _ in 0..4 {
            life.on(Event::Ended(None), now, 0.0);
            now = life.timer().expect("a pause has an end");
            life.on(Event::Timer, now, 0.0);
            life.on(Event::Ready, now, 0.0);
        }
        now += Duration::from_secs(60);
        life.on(Event::Ended(None), now, 0.0);
        assert_eq!(life.timer(), Some(now + Duration::from_millis(500)));
        assert_eq!(life.restarts(), 4);
    }

    #[test]
    fn chance_shortens_a_pause_by_a_quarter_at_most() {
        assert_eq!(policy().pause(1, 1.0), Duration::from_millis(375));
        assert_eq!(policy().pause(99, 0.0), Duration::from_secs(30));
    }

    #[test]
    fn a_wrong_config_is_not_tried_again() {
        let now = Instant::now();
        let mut life = ready(now);
        assert_eq!(life.on(Event::Ended(Some(EXIT_CONFIG)), now, 0.0), Action::None);
        assert_eq!((life.phase(), life.timer()), (Phase::Failed, None));
        life.on(Event::Stop, now, 0.0);
        assert_eq!(life.phase(), Phase::Stopped);
    }

    #[test]
    fn who_is_not_ready_in_time_or_does_not_end_in_time_is_killed() {
        let now = Instant::now();
        let mut life = Lifecycle::new(policy(), now);
        life.on(Event::Start, now, 0.0);
        assert_eq!(life.timer(), Some(now + Duration::from_secs(60)));
        assert_eq!(life.on(Event::Timer, now, 0.0), Action::Kill);
        let mut life = ready(now);
        assert_eq!(life.on(Event::Stop, now, 0.0), Action::Terminate);
        assert_eq!(life.timer(), Some(now + Duration::from_secs(10)));
        assert_eq!(life.on(Event::Timer, now, 0.0), Action::Kill);
        assert_eq!(life.phase(), Phase::Stopping);
        life.on(Event::Ended(None), now, 0.0);
        assert_eq!(life.phase(), Phase::Stopped);
    }

    #[test]
    fn a_refusal_gives_a_short_grace() {
        let now = Instant::now();
        let mut life = Lifecycle::new(policy(), now);
        life.on(Event::Start, now, 0.0);
        assert_eq!(life.on(Event::Refused, now, 0.0), Action::Terminate);
        assert_eq!(life.timer(), Some(now + Duration::from_secs(2)));
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Start),
            Just(Event::Ready),
            Just(Event::Refused),
            Just(Event::Silent),
            Just(Event::Ended(Some(1))),
            Just(Event::Ended(Some(EXIT_CONFIG))),
            Just(Event::Ended(None)),
            Just(Event::Timer),
            Just(Event::Stop),
        ]
    }

    proptest! {
        /// Whatever happens, at most one process is alive, none is started after a stop, and
        /// a component whose process has ended after a stop is stopped for good.
        #[test]
        fn any_schedule_keeps_the_rules(
            schedule in prop::collection::vec((event(), 0_u64..100_000), 1..60),
        ) {
            let mut now = Instant::now();
            let mut life = Lifecycle::new(policy(), now);
            let (mut alive, mut stopped) = (false, false);
            for (event, millis) in schedule {
                now += Duration::from_millis(millis);
                // Only what can happen happens: a process speaks and ends while it is alive.
                let of_process = matches!(
                    event,
                    Event::Ready | Event::Refused | Event::Silent | Event::Ended(_)
                );
                if of_process && !alive {
                    continue;
                }
                if matches!(event, Event::Ended(_)) {
                    alive = false;
                }
                stopped |= event == Event::Stop;
                let action = life.on(event, now, 0.5);
                match action {
                    Action::Spawn => {
                        prop_assert!(!alive && !stopped);
                        alive = true;
                    }
                    Action::Kill | Action::Terminate => prop_assert!(alive),
                    Action::None => {}
                }
                let runs = matches!(life.phase(), Phase::Starting | Phase::Ready | Phase::Stopping);
                prop_assert_eq!(alive, runs);
                if stopped && !alive {
                    prop_assert_eq!(life.phase(), Phase::Stopped);
                    prop_assert_eq!(life.timer(), None);
                }
            }
        }
    }
}
