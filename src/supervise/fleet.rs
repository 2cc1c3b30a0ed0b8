//! All components together, as a pure state machine over their [lives](super::lifecycle): who may start, who may stop,
//! and when the start of the whole has succeeded or failed.
//!
//! A component starts when all components that it needs are ready, and stops when none that needs it, directly or not, is left.
//! Like a single life this has no clock and starts nothing; what is to be done comes back as a list of [`Effect`]s, in their order.

#[cfg(test)]
mod tests;

use super::lifecycle::{Action, Event, Lifecycle, Phase, Policy};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Everything may start.
    Begin,
    /// Something happened to one component.
    To(usize, Event),
    /// Time has passed.
    Time,
    /// The machine has slept.
    Slept,
    /// Everything shall end.
    Stop,
    /// Everything shall end at once, in no order, and nobody is asked.
    StopNow,
}

/// What is to be done, or is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Do this with the process of a component.
    Do(usize, Action),
    /// All components are ready for the first time.
    Up,
    /// The start has failed for this component's sake, and everything ends. `late` if its only fault is that it is not ready.
    StartFailed {
        /// The component.
        index: usize,
        /// Whether the time is up, and nothing else.
        late: bool,
    },
}

/// How the start of the whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Until then all must be ready.
    Pending(Instant),
    /// All were ready once.
    Succeeded,
    /// It failed, or was stopped before it could succeed.
    Over,
}

/// All components.
#[derive(Debug, Clone)]
pub struct Fleet {
    lives: Vec<Lifecycle>,
    /// What each component needs directly.
    needs: Vec<Vec<usize>>,
    /// What needs each component, directly or not.
    dependents: Vec<Vec<usize>>,
    /// All components, each behind those that need it.
    stop_order: Vec<usize>,
    /// Whether components may start.
    has_begun: bool,
    start: Start,
    stopping: bool,
}

impl Fleet {
    /// Creates a fleet of components of which none has started. `needs` has the components that each one needs, by index, without a
    /// circle; all must be ready within `start_timeout`.
    pub fn new(needs: Vec<Vec<usize>>, policy: Policy, start_timeout: Duration, now: Instant) -> Self {
        let count = needs.len();
        let closure: Vec<BTreeSet<usize>> = (0..count).map(|index| all_needs(&needs, index)).collect();
        let dependents = (0..count)
            .map(|index| (0..count).filter(|other| closure[*other].contains(&index)).collect())
            .collect();
        // A component needs, all told, more components than each of those does.
        let mut stop_order: Vec<usize> = (0..count).collect();
        stop_order.sort_by_key(|index| std::cmp::Reverse(closure[*index].len()));
        Self {
            lives: vec![Lifecycle::new(policy); count],
            needs,
            dependents,
            stop_order,
            has_begun: false,
            start: Start::Pending(now + start_timeout),
            stopping: false,
        }
    }

    /// The life of one.
    pub fn life(&self, index: usize) -> &Lifecycle {
        &self.lives[index]
    }

    /// Where one is in its life.
    pub fn phase(&self, index: usize) -> Phase {
        self.lives[index].phase()
    }

    /// How the start stands.
    pub fn start(&self) -> Start {
        self.start
    }

    /// Whether everything shall end.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether everything has ended.
    pub fn is_over(&self) -> bool {
        self.stopping && self.lives.iter().all(|life| life.phase() == Phase::Stopped)
    }

    /// When [`Happening::Time`] is due.
    pub fn timer(&self) -> Option<Instant> {
        let deadline = match self.start {
            Start::Pending(deadline) => Some(deadline),
            Start::Succeeded | Start::Over => None,
        };
        self.lives.iter().filter_map(Lifecycle::timer).chain(deadline).min()
    }

    /// Takes note of what happens, and says what is to be done. `chance` gives numbers in 0..1.
    pub fn on(&mut self, what: Happening, now: Instant, chance: &mut dyn FnMut() -> f64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut tell =
            |lives: &mut Vec<Lifecycle>, index: usize, event: Event, effects: &mut Vec<Effect>| match lives
                [index]
                .on(event, now, chance())
            {
                Action::None => {}
                action => effects.push(Effect::Do(index, action)),
            };
        match what {
            Happening::Begin => self.has_begun = true,
            Happening::To(index, event) => {
                tell(&mut self.lives, index, event, &mut effects);
                if let (Event::Ended(_), Start::Pending(_)) = (event, self.start) {
                    self.fail(index, false, &mut effects);
                }
            }
            Happening::Time => {
                if let Start::Pending(deadline) = self.start
                    && deadline <= now
                    && let Some(late) = self.lives.iter().position(|life| life.phase() != Phase::Ready)
                {
                    self.fail(late, true, &mut effects);
                }
                for index in 0..self.lives.len() {
                    tell(&mut self.lives, index, Event::Timer, &mut effects);
                }
            }
            Happening::Slept => {
                for index in 0..self.lives.len() {
                    tell(&mut self.lives, index, Event::Slept, &mut effects);
                }
            }
            Happening::Stop | Happening::StopNow => {
                self.stopping = true;
                self.start = match self.start {
                    Start::Pending(_) => Start::Over,
                    other => other,
                };
                if what == Happening::StopNow {
                    for index in 0..self.lives.len() {
                        tell(&mut self.lives, index, Event::StopNow, &mut effects);
                    }
                }
            }
        }
        // What follows from how all of them stand now.
        if self.stopping {
            for &index in &self.stop_order {
                let is_needed =
                    self.dependents[index].iter().any(|other| self.lives[*other].phase() != Phase::Stopped);
                // Without a process it is of no use to those that need it.
                if !is_needed || !self.lives[index].phase().has_process() {
                    tell(&mut self.lives, index, Event::Stop, &mut effects);
                }
            }
        } else if self.has_begun {
            for index in 0..self.lives.len() {
                // One that has started already ignores this.
                if self.needs[index].iter().all(|need| self.lives[*need].phase() == Phase::Ready) {
                    tell(&mut self.lives, index, Event::Start, &mut effects);
                }
            }
            if matches!(self.start, Start::Pending(_))
                && self.lives.iter().all(|life| life.phase() == Phase::Ready)
            {
                self.start = Start::Succeeded;
                effects.push(Effect::Up);
            }
        }
        effects
    }

    /// During the start one failure is everybody's.
    fn fail(&mut self, index: usize, late: bool, effects: &mut Vec<Effect>) {
        self.start = Start::Over;
        self.stopping = true;
        effects.push(Effect::StartFailed { index, late });
    }
}

/// Everything that the component `index` needs, directly or not.
fn all_needs(needs: &[Vec<usize>], index: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = needs[index].clone();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(&needs[next]);
        }
    }
    found
}
