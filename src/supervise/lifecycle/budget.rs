//! How often a component may come back, and after what pause. Kept over all its processes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The times that govern a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long it may take to become ready.
    pub start_timeout: Duration,
    /// How long it may take to end after it was asked to.
    pub stop_timeout: Duration,
    /// How long it may be alive and not answer before it is killed; `None`: for ever.
    pub hang_timeout: Option<Duration>,
    /// The first pause before a restart; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Ready for so long, and earlier ends count no more.
    pub proven_after: Duration,
    /// So many ends within [`Self::crash_window`] are a crash loop.
    pub crash_ends: usize,
    /// See [`Self::crash_ends`].
    pub crash_window: Duration,
    /// How long a component that says it failed may take to end.
    pub refusal_grace: Duration,
    /// A kill whose effect is not heard of is repeated after so long.
    pub kill_again: Duration,
}

impl Policy {
    /// The policy with these two limits and the usual pauses; who does not answer is left alone.
    pub fn new(start_timeout: Duration, stop_timeout: Duration) -> Self {
        Self {
            start_timeout,
            stop_timeout,
            hang_timeout: None,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            proven_after: Duration::from_secs(60),
            crash_ends: 5,
            crash_window: Duration::from_secs(60),
            refusal_grace: Duration::from_secs(2),
            kill_again: Duration::from_secs(5),
        }
    }

    /// The pause before a restart after `failures` in a row, without chance.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.longest_pause)
    }
}

/// `chance` in 0..1 takes off up to a quarter, so that components that ended together do not start together.
pub(super) fn jittered(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(1.0 - 0.25 * chance.clamp(0.0, 1.0))
}

/// What a component has used up.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    /// How often it ended since it was last ready for long.
    failures: u32,
    /// When, as far as that still counts.
    ends: VecDeque<Instant>,
    looping: bool,
}

impl Budget {
    /// Whether everything is used up.
    pub(super) fn is_looping(&self) -> bool {
        self.looping
    }

    /// It was ready for so long that earlier ends say nothing about the next.
    pub(super) fn forgive(&mut self) {
        *self = Self::default();
    }

    /// It ended. Gives the pause before it is started again.
    pub(super) fn spend(&mut self, policy: &Policy, now: Instant, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.ends.push_back(now);
        while self.ends.len() > policy.crash_ends {
            self.ends.pop_front();
        }
        // The oldest of that many ends tells whether all of them lie within the window.
        self.looping |= self.ends.len() == policy.crash_ends
            && self
                .ends
                .front()
                .is_some_and(|first| now.saturating_duration_since(*first) <= policy.crash_window);
        let pause = if self.looping { policy.longest_pause } else { policy.pause(self.failures) };
        jittered(pause, chance)
    }
}
