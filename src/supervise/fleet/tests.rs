//! The rules of the whole, for any schedule of events, with a scripted clock and imagined processes.

use super::*;
use crate::supervise::lifecycle::tests::policy;
use proptest::prelude::*;
use stigmer_protocol::component::EXIT_CONFIG;

const COUNT: usize = 3;
/// The component that the others need.
const SERVER: usize = 0;
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Last signal to an imagined process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Nothing,
    Terminate,
    Killed,
}

/// A fleet, its imagined processes, and every rule about them.
struct World {
    fleet: Fleet,
    now: Instant,
    processes: [Option<Signal>; COUNT],
    spawned: [Vec<Instant>; COUNT],
    server_was_ready: bool,
    stopped: bool,
    /// How the start was said to have gone, so that it is said once.
    verdicts: usize,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut world = Self {
            fleet: Fleet::new(vec![vec![], vec![SERVER], vec![SERVER]], policy(), START_TIMEOUT, now),
            now,
            processes: [None; COUNT],
            spawned: [const { Vec::new() }; COUNT],
            server_was_ready: false,
            stopped: false,
            verdicts: 0,
        };
        world.on(Happening::Begin);
        world
    }

    fn on(&mut self, what: Happening) {
        self.stopped |= matches!(what, Happening::Stop | Happening::StopNow);
        self.server_was_ready |= what == Happening::To(SERVER, Event::Ready);
        if let Happening::To(index, Event::Ended(_)) = what {
            assert!(self.processes[index].take().is_some(), "only what lives can end");
        }
        for effect in self.fleet.on(what, self.now, &mut || 1.0) {
            match effect {
                Effect::Do(index, Action::Spawn) => self.spawn(index),
                Effect::Do(index, Action::Terminate) => {
                    assert!(self.processes[index].is_some(), "nobody is asked to end who does not live");
                    // Who talks nonsense is not kept, whoever needs it.
                    if what != Happening::To(index, Event::Refused) {
                        self.check_order(index);
                    }
                    self.processes[index] = Some(Signal::Terminate);
                }
                Effect::Do(index, Action::Kill(_)) => {
                    assert!(self.processes[index].is_some(), "nobody is killed who does not live");
                    self.processes[index] = Some(Signal::Killed);
                }
                Effect::Do(_, Action::None) => panic!("nothing to do is nothing to say"),
                Effect::Up => self.verdicts += 1,
                Effect::StartFailed { .. } => {
                    self.verdicts += 1;
                    self.stopped = true;
                }
            }
        }
        assert!(self.verdicts <= 1, "the start ends once");
        for (index, process) in self.processes.iter().enumerate() {
            assert_eq!(
                process.is_some(),
                self.fleet.phase(index).has_process(),
                "every process is accounted for"
            );
        }
        assert_eq!(self.fleet.is_stopping(), self.stopped);
        if self.fleet.is_over() {
            assert_eq!(self.fleet.timer(), None, "nothing happens after the end");
        }
    }

    fn spawn(&mut self, index: usize) {
        assert_eq!(self.processes[index], None, "at most one process each");
        assert!(!self.stopped, "a stop wins");
        assert!(index == SERVER || self.server_was_ready, "the server is ready before anyone needs it");
        self.processes[index] = Some(Signal::Nothing);
        self.spawned[index].push(self.now);
        let window = policy().crash_window;
        let recent = self.spawned[index].iter().filter(|then| self.now.duration_since(**then) < window);
        // Five ends make a loop; beyond it, one start per pause of at least three quarters of its length.
        assert!(recent.count() <= policy().crash_ends + 2, "restarts are bounded");
    }

    fn check_order(&self, index: usize) {
        if self.stopped && index == SERVER {
            let workers = &self.processes[SERVER + 1..];
            assert!(workers.iter().all(Option::is_none), "the server ends last");
        }
    }

    /// Time passes until what is due next; what is due is done.
    fn pass(&mut self) {
        if let Some(due) = self.fleet.timer() {
            self.now = self.now.max(due);
        }
        self.on(Happening::Time);
        assert!(self.fleet.timer().is_none_or(|due| due > self.now), "what is due is done, not put off");
    }
}

/// One step of a schedule: who, what, and after how many milliseconds.
fn steps() -> impl Strategy<Value = Vec<(usize, u8, u64)>> {
    prop::collection::vec((0..COUNT, 0_u8..15, prop_oneof![0_u64..50, 0_u64..90_000]), 0..120)
}

fn play(world: &mut World, steps: &[(usize, u8, u64)], may_stop: bool) {
    for &(index, what, millis) in steps {
        world.now += Duration::from_millis(millis);
        let lives = world.processes[index].is_some();
        let event = match what {
            0 | 1 => Event::Ready,
            2 => Event::Refused,
            3 => Event::Silent,
            4..=6 => Event::Ended(Some(1)),
            7 => Event::Ended(Some(EXIT_CONFIG)),
            8 => Event::Ended(None),
            9 => Event::Withdraw,
            10 => Event::Restore,
            11 => {
                world.on(Happening::Slept);
                continue;
            }
            12 if may_stop => {
                world.on(Happening::Stop);
                continue;
            }
            13 if may_stop => {
                world.on(Happening::StopNow);
                continue;
            }
            _ => {
                world.pass();
                continue;
            }
        };
        // A process speaks and ends only while it lives.
        if lives {
            world.on(Happening::To(index, event));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// At most one process each, none after a stop, the server first and last, restarts bounded, each process accounted for.
    #[test]
    fn any_schedule_keeps_the_rules(steps in steps()) {
        play(&mut World::new(), &steps, true);
    }

    /// However it stands, and though no process ends before it is killed: a stop comes to its end.
    #[test]
    fn a_stop_always_comes_to_its_end(steps in steps()) {
        let mut world = World::new();
        play(&mut world, &steps, true);
        world.on(Happening::Stop);
        for _ in 0..2 * COUNT {
            if world.fleet.is_over() {
                break;
            }
            world.pass();
            for index in 0..COUNT {
                if world.processes[index] == Some(Signal::Killed) {
                    world.on(Happening::To(index, Event::Ended(None)));
                }
            }
        }
        prop_assert!(world.fleet.is_over());
        prop_assert_eq!(world.processes, [None; COUNT]);
    }

    /// However it stands: who has no time waits for nobody, and every process is killed in that moment.
    #[test]
    fn a_stop_at_once_kills_all_that_live(steps in steps()) {
        let mut world = World::new();
        play(&mut world, &steps, true);
        world.on(Happening::StopNow);
        for index in 0..COUNT {
            if let Some(told) = world.processes[index] {
                prop_assert_eq!(told, Signal::Killed);
                world.on(Happening::To(index, Event::Ended(None)));
            }
        }
        prop_assert!(world.fleet.is_over());
    }

    /// Who crashes all the time is tried for ever, ever more rarely, and all starts are counted.
    #[test]
    fn the_restart_budget_is_never_exceeded(
        waits in prop::collection::vec(prop_oneof![Just(0_u64), 0_u64..20_000, 55_000_u64..70_000], 1..200),
    ) {
        let mut world = up();
        for millis in waits {
            world.now += Duration::from_millis(millis);
            world.on(Happening::Time);
            if world.processes[1].is_some() {
                world.on(Happening::To(1, Event::Ended(Some(1))));
            }
            let starts = world.spawned[1].len();
            world.pass();
            prop_assert_eq!(world.spawned[1].len(), starts + 1);
            world.on(Happening::To(1, Event::Ready));
        }
        prop_assert_eq!(world.spawned[1].len() as u64, 1 + u64::from(world.fleet.life(1).restarts()));
    }
}

fn up() -> World {
    let mut world = World::new();
    for index in 0..COUNT {
        world.on(Happening::To(index, Event::Ready));
    }
    assert_eq!(world.fleet.start(), Start::Succeeded);
    world
}

#[test]
fn all_ready_is_up_and_a_later_end_is_nobody_elses_affair() {
    let mut world = up();
    world.on(Happening::To(1, Event::Ended(Some(1))));
    assert_eq!(world.fleet.phase(1), Phase::Restarting);
    assert_eq!((world.fleet.phase(0), world.fleet.phase(2)), (Phase::Ready, Phase::Ready));
}

#[test]
fn during_the_start_an_end_is_the_end_of_all() {
    let mut world = World::new();
    world.on(Happening::To(SERVER, Event::Ready));
    let effects = world.fleet.on(Happening::To(2, Event::Ended(Some(1))), world.now, &mut || 0.0);
    assert_eq!(effects[0], Effect::StartFailed { index: 2, late: false });
    assert_eq!(effects[1], Effect::Do(1, Action::Terminate));
    assert_eq!(effects.len(), 2, "the server's turn has not come: {effects:?}");
}

#[test]
fn who_is_late_at_the_start_is_named() {
    let mut world = World::new();
    world.on(Happening::To(SERVER, Event::Ready));
    world.on(Happening::To(1, Event::Ready));
    let effects = world.fleet.on(Happening::Time, world.now + START_TIMEOUT, &mut || 0.0);
    assert_eq!(effects[0], Effect::StartFailed { index: 2, late: true });
}

#[test]
fn a_stop_before_the_start_is_over_is_no_failure() {
    let mut world = World::new();
    world.on(Happening::Stop);
    world.on(Happening::To(SERVER, Event::Ended(Some(0))));
    assert!(world.fleet.is_over());
    assert_eq!(world.verdicts, 0);
}

#[test]
fn a_server_that_ends_while_the_workers_stop_is_not_started_again() {
    let mut world = up();
    world.on(Happening::Stop);
    world.on(Happening::To(SERVER, Event::Ended(None)));
    assert_eq!(world.fleet.phase(SERVER), Phase::Stopped);
    for worker in 1..COUNT {
        world.on(Happening::To(worker, Event::Ended(Some(0))));
    }
    assert!(world.fleet.is_over());
}

/// A chain with a branch: 3 needs 2, 2 and 1 need 0, 4 needs nothing.
fn graph() -> Fleet {
    let needs = vec![vec![], vec![0], vec![0], vec![2], vec![]];
    let mut fleet = Fleet::new(needs, policy(), START_TIMEOUT, Instant::now());
    assert_eq!(
        fleet.on(Happening::To(4, Event::Silent), Instant::now(), &mut || 0.0),
        [],
        "nothing has begun"
    );
    assert_eq!(step(&mut fleet, Happening::Begin), [(0, Action::Spawn), (4, Action::Spawn)]);
    fleet
}

fn step(fleet: &mut Fleet, what: Happening) -> Vec<(usize, Action)> {
    let effects = fleet.on(what, Instant::now(), &mut || 0.0);
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Do(index, action) => Some((index, action)),
            Effect::Up | Effect::StartFailed { .. } => None,
        })
        .collect()
}

#[test]
fn components_start_along_their_needs_and_stop_in_reverse() {
    let mut fleet = graph();
    let ready = |index| Happening::To(index, Event::Ready);
    let ended = |index| Happening::To(index, Event::Ended(Some(0)));
    assert_eq!(step(&mut fleet, ready(4)), []);
    assert_eq!(step(&mut fleet, ready(0)), [(1, Action::Spawn), (2, Action::Spawn)]);
    assert_eq!(step(&mut fleet, ready(1)), []);
    assert_eq!(step(&mut fleet, ready(2)), [(3, Action::Spawn)]);
    assert!(matches!(fleet.start(), Start::Pending(_)));
    let effects = fleet.on(ready(3), Instant::now(), &mut || 0.0);
    assert_eq!(effects, [Effect::Up]);
    let asked = step(&mut fleet, Happening::Stop);
    assert_eq!(asked, [(3, Action::Terminate), (1, Action::Terminate), (4, Action::Terminate)]);
    assert_eq!(step(&mut fleet, ended(1)), []);
    assert_eq!(step(&mut fleet, ended(4)), []);
    assert_eq!(step(&mut fleet, ended(3)), [(2, Action::Terminate)]);
    assert_eq!(step(&mut fleet, ended(2)), [(0, Action::Terminate)]);
    assert_eq!(step(&mut fleet, ended(0)), []);
    assert!(fleet.is_over());
}

#[test]
fn what_is_needed_only_through_a_component_that_has_ended_still_stops_last() {
    let mut fleet = graph();
    for index in [4, 0, 1, 2, 3] {
        step(&mut fleet, Happening::To(index, Event::Ready));
    }
    assert_eq!(step(&mut fleet, Happening::To(2, Event::Ended(Some(1)))), []);
    let asked = step(&mut fleet, Happening::Stop);
    assert_eq!(asked, [(3, Action::Terminate), (1, Action::Terminate), (4, Action::Terminate)]);
    assert_eq!(fleet.phase(2), Phase::Stopped);
    step(&mut fleet, Happening::To(1, Event::Ended(Some(0))));
    assert_eq!(step(&mut fleet, Happening::To(3, Event::Ended(Some(0)))), [(0, Action::Terminate)]);
}
