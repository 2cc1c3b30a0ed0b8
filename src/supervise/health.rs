//! Whether what lives is also of use: the server is asked every two seconds, and tells which workers it still hears of.
//!
//! Pure but for `probe`: when to ask, and what an answer or its absence means for whom, is decided here without a clock.
//! One silence means nothing, three in a row do. If the server is silent, nothing is known of the workers, and what is not known is
//! not held against anybody. Time in which the machine slept, or we were not let run ourselves, is nobody's silence.

pub(super) mod probe;

use super::lifecycle::Event;
use std::time::{Duration, Instant};

/// How often the server is asked.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// How long it may take to answer. It is on this machine, and has the answer at hand.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// So many silences in a row, and the server is not ready any more.
const MAX_MISSES: u32 = 3;

/// A worker that the server knew and does not know in so many answers in a row is as good as silent: one that lives
/// registers again with a server that restarted as soon as it heartbeats.
const MAX_ABSENCES: u32 = 5;

/// After a silence, so many answers say nothing about the workers: they could not be heard of meanwhile.
const SETTLING_ANSWERS: u32 = 2;

/// A worker, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What kind of work it does: the component's name.
    pub kind: String,
    /// Its process.
    pub pid: u32,
    /// Whether the server has not heard of it for too long.
    pub stale: bool,
}

/// A component that may be a worker, as the supervisor knows it.
#[derive(Debug, Clone, Copy)]
pub struct Component<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its process by its own account, once it was ready.
    pub pid: Option<u32>,
    /// Whether it is known to register before it says that it is ready. Of another one, it must have been seen.
    pub registers: bool,
}

/// What a look at the clock asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// It is not time.
    Early,
    /// Ask the server.
    Ask,
    /// The machine slept, or we did: what was counted counts no more.
    Slept,
}

/// What is known about a worker over one process.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Whether the server was ever seen to know it. One that never registers is judged by its process alone.
    registered: bool,
    absences: u32,
}

/// What is known about everybody.
#[derive(Debug)]
pub struct Health {
    /// Index of the component that is asked.
    api: usize,
    /// When to ask next; `None` while an answer is awaited or there is nobody to ask.
    due: Option<Instant>,
    misses: u32,
    /// How many of the next answers say nothing about the workers.
    settling: u32,
    seen: Vec<Seen>,
}

impl Health {
    /// Nothing is known yet about `count` components, of which the one with the index `api` is asked.
    pub fn new(count: usize, api: usize) -> Self {
        Self { api, due: None, misses: 0, settling: 0, seen: vec![Seen::default(); count] }
    }

    /// When [`Self::tick`] is due.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A process of the component with this index begins: what was known concerned another one.
    pub fn begin(&mut self, index: usize) {
        self.seen[index] = Seen::default();
        if index == self.api {
            self.rest();
        }
    }

    /// The server is ready: from now on it is asked.
    pub fn watch(&mut self, now: Instant) {
        self.misses = 0;
        self.due = Some(now + PROBE_INTERVAL);
    }

    /// There is nobody to ask any more.
    pub fn rest(&mut self) {
        self.misses = 0;
        self.due = None;
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Tick {
        match self.due {
            Some(due) if now.saturating_duration_since(due) > PROBE_INTERVAL => {
                self.slept(now);
                Tick::Slept
            }
            Some(due) if due <= now => {
                self.due = None;
                Tick::Ask
            }
            _ => Tick::Early,
        }
    }

    /// The server was asked at `began`, and now gave its `answer` or none. Says what that means for whom.
    pub fn hear(
        &mut self,
        answer: Option<&[Worker]>,
        components: &[Component],
        began: Instant,
        now: Instant,
    ) -> Vec<(usize, Event)> {
        if now.saturating_duration_since(began) > PROBE_TIMEOUT + PROBE_INTERVAL {
            self.slept(now);
            return components.iter().enumerate().map(|(index, _)| (index, Event::Slept)).collect();
        }
        self.due = Some(now + PROBE_INTERVAL);
        let Some(workers) = answer else {
            self.misses += 1;
            self.settling = SETTLING_ANSWERS;
            return if self.misses >= MAX_MISSES { vec![(self.api, Event::Withdraw)] } else { Vec::new() };
        };
        self.misses = 0;
        if self.settling > 0 {
            self.settling -= 1;
            return vec![(self.api, Event::Restore)];
        }
        let api = self.api;
        let judged = components
            .iter()
            .zip(&mut self.seen)
            .enumerate()
            .filter(|(index, _)| *index != api)
            .filter_map(|(index, (component, seen))| Some((index, seen.judge(*component, workers)?)));
        std::iter::once((api, Event::Restore)).chain(judged).collect()
    }

    fn slept(&mut self, now: Instant) {
        self.watch(now);
        self.settling = SETTLING_ANSWERS;
        for seen in &mut self.seen {
            seen.absences = 0;
        }
    }
}

impl Seen {
    fn judge(&mut self, component: Component, workers: &[Worker]) -> Option<Event> {
        let pid = component.pid?;
        match workers.iter().find(|worker| worker.kind == component.name && worker.pid == pid) {
            Some(worker) => {
                *self = Self { registered: true, absences: 0 };
                Some(if worker.stale { Event::Withdraw } else { Event::Restore })
            }
            None if self.registered || component.registers => {
                self.absences += 1;
                (self.absences >= MAX_ABSENCES).then_some(Event::Withdraw)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: usize = 0;

    const COMPONENTS: [Component; 3] = [
        Component { name: "stigmer-server", pid: Some(1), registers: false },
        Component { name: "workflow-runner", pid: Some(2), registers: false },
        Component { name: "agent-runner", pid: Some(3), registers: false },
    ];

    fn worker(kind: &str, pid: u32, stale: bool) -> Worker {
        Worker { kind: kind.to_owned(), pid, stale }
    }

    /// Asks and answers as often as there are answers; gives what the last one meant.
    fn play(health: &mut Health, now: &mut Instant, answers: &[Option<&[Worker]>]) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        for answer in answers {
            *now = health.due().expect("it is watched");
            assert_eq!(health.tick(*now), Tick::Ask);
            assert_eq!(health.due(), None, "one question at a time");
            events = health.hear(*answer, &COMPONENTS, *now, *now);
        }
        events
    }

    fn watched() -> (Health, Instant) {
        let now = Instant::now();
        let mut health = Health::new(3, SERVER);
        health.watch(now);
        assert_eq!(health.tick(now), Tick::Early);
        (health, now)
    }

    #[test]
    fn three_silences_in_a_row_withdraw_the_servers_readiness_and_an_answer_restores_it() {
        let (mut health, mut now) = watched();
        assert_eq!(play(&mut health, &mut now, &[None, None, Some(&[]), None, None]), []);
        assert_eq!(play(&mut health, &mut now, &[None]), [(0, Event::Withdraw)]);
        assert_eq!(play(&mut health, &mut now, &[Some(&[])]), [(0, Event::Restore)]);
    }

    #[test]
    fn a_stale_worker_is_withdrawn_and_one_that_is_heard_of_restored() {
        let (mut health, mut now) = watched();
        let stale = [worker("workflow-runner", 2, true), worker("agent-runner", 3, false)];
        let events = play(&mut health, &mut now, &[Some(&stale)]);
        assert_eq!(events, [(0, Event::Restore), (1, Event::Withdraw), (2, Event::Restore)]);
    }

    #[test]
    fn who_never_registered_is_not_judged_nor_is_a_stranger_taken_for_it() {
        let (mut health, mut now) = watched();
        let strangers = [worker("agent-runner", 99, true), worker("workflow-runner", 3, true)];
        for _ in 0..20 {
            assert_eq!(play(&mut health, &mut now, &[Some(&strangers)]), [(0, Event::Restore)]);
        }
    }

    #[test]
    fn who_was_known_and_stays_away_is_withdrawn_but_not_at_once() {
        let (mut health, mut now) = watched();
        let here = [worker("agent-runner", 3, false)];
        play(&mut health, &mut now, &[Some(&here)]);
        let events = play(&mut health, &mut now, &[Some(&[]), Some(&[]), Some(&[]), Some(&[])]);
        assert_eq!(events, [(0, Event::Restore)]);
        let events = play(&mut health, &mut now, &[Some(&[])]);
        assert_eq!(events, [(0, Event::Restore), (2, Event::Withdraw)]);
        // Another process of it starts from nothing.
        health.begin(2);
        assert_eq!(play(&mut health, &mut now, &[Some(&[])]), [(0, Event::Restore)]);
    }

    #[test]
    fn who_registers_before_it_is_ready_need_not_have_been_seen() {
        let mut health = Health::new(2, SERVER);
        let mut now = Instant::now();
        let components = [COMPONENTS[0], Component { registers: true, ..COMPONENTS[1] }];
        for round in 1..=5 {
            now += PROBE_INTERVAL;
            let events = health.hear(Some(&[]), &components, now, now);
            assert_eq!(events.contains(&(1, Event::Withdraw)), round == 5, "{round}");
        }
    }

    #[test]
    fn a_silent_server_says_nothing_about_the_workers() {
        let (mut health, mut now) = watched();
        let here = [worker("workflow-runner", 2, false), worker("agent-runner", 3, false)];
        play(&mut health, &mut now, &[Some(&here)]);
        for _ in 0..20 {
            let events = play(&mut health, &mut now, &[None]);
            assert!(events.iter().all(|(index, _)| *index == SERVER), "{events:?}");
        }
    }

    #[test]
    fn a_server_that_was_silent_has_time_to_hear_of_the_workers() {
        let (mut health, mut now) = watched();
        let stale = [worker("workflow-runner", 2, true)];
        assert_eq!(play(&mut health, &mut now, &[None, Some(&stale)]), [(0, Event::Restore)]);
        assert_eq!(play(&mut health, &mut now, &[Some(&stale)]), [(0, Event::Restore)]);
        let events = play(&mut health, &mut now, &[Some(&stale)]);
        assert_eq!(events, [(0, Event::Restore), (1, Event::Withdraw)]);
    }

    #[test]
    fn what_a_sleeping_machine_missed_counts_for_nothing() {
        let (mut health, mut now) = watched();
        play(&mut health, &mut now, &[None, None]);
        now = health.due().expect("it is watched") + Duration::from_secs(3600);
        assert_eq!(health.tick(now), Tick::Slept);
        assert_eq!(health.due(), Some(now + PROBE_INTERVAL));
        assert_eq!(play(&mut health, &mut now, &[None, None]), []);
        // It fell asleep between the question and its end.
        now = health.due().expect("it is watched");
        assert_eq!(health.tick(now), Tick::Ask);
        let events = health.hear(None, &COMPONENTS, now, now + Duration::from_secs(3600));
        assert!(events.iter().all(|(_, event)| *event == Event::Slept), "{events:?}");
        now += Duration::from_secs(3600);
        assert_eq!(play(&mut health, &mut now, &[None, None]), []);
    }

    #[test]
    fn a_server_that_begins_anew_is_not_asked_before_it_is_ready() {
        let (mut health, mut now) = watched();
        play(&mut health, &mut now, &[None, None]);
        health.begin(SERVER);
        assert_eq!(health.due(), None);
        health.watch(now);
        assert_eq!(play(&mut health, &mut now, &[None, None]), []);
    }
}
