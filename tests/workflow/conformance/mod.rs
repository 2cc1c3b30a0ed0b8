//! What every engine has to do with a workflow: one suite, for each of them.
//!
//! A scenario is a workflow, what the world answers, and what has to come of it. On an engine that can be made to crash, every
//! scenario is also run with a crash behind each entry of its journal, and before: the end is the same, and what has
//! happened in the world does not happen again.

mod embedded;
mod forks;
mod memory;
mod scenarios;
mod upgrade;
mod world;

use embedded::Embedded;
use memory::Memory;
use scenarios::{Scenario, scenarios};
use serde_json::Value;
use stigmer::workflow::interpreter::End;
use stigmer::workflow::journaled::Entry;
use world::World;

/// What came of an execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Came {
    /// It came to its end.
    To(End),
    /// It was called off.
    Cancelled,
}

/// What is tested: something that carries out workflows in a world.
pub(crate) trait Bench {
    /// Carries out a workflow from its beginning to its end, whatever it has to survive.
    fn run(&mut self, spec: &Value, input: &Value, world: &World) -> Came;
}

fn judge(scenario: &Scenario, came: &Came, world: &World, how: &str) {
    let name = scenario.name;
    (scenario.expect)(came, world, &format!("{name}, {how}"));
}

/// All scenarios; those in which time passes only if that is not the real time.
fn suite(is_real: bool, mut bench: impl FnMut(&Scenario, &World) -> Came) {
    for scenario in scenarios().iter().filter(|scenario| !is_real || !scenario.takes_time()) {
        let world = World::new(scenario);
        let came = bench(scenario, &world);
        judge(scenario, &came, &world, "undisturbed");
    }
}

#[test]
fn the_engine_on_a_journal() {
    suite(false, |scenario, world| Memory::default().run(&scenario.spec, &scenario.input, world));
}

#[test]
fn the_engine_as_it_ships() {
    let mut bench = Embedded::new();
    suite(true, |scenario, world| bench.run(&scenario.spec, &scenario.input, world));
}

#[test]
fn a_crash_at_every_entry_changes_nothing() {
    for scenario in scenarios() {
        let world = World::new(&scenario);
        let mut whole = Memory::default();
        let expected = whole.run(&scenario.spec, &scenario.input, &world);
        let entries = whole.entries();
        assert!(entries > 0, "{}", scenario.name);
        for crash in 0..=entries {
            let world = World::new(&scenario);
            let mut bench = Memory::crashing(vec![crash]);
            let came = bench.run(&scenario.spec, &scenario.input, &world);
            assert_eq!(came, expected, "{}: crash behind entry {crash}", scenario.name);
            judge(&scenario, &came, &world, &format!("crash behind entry {crash}"));
        }
    }
}

#[test]
fn crashes_one_after_the_other_change_nothing() {
    for scenario in scenarios() {
        let world = World::new(&scenario);
        let mut whole = Memory::default();
        let expected = whole.run(&scenario.spec, &scenario.input, &world);
        // After each further entry.
        let world = World::new(&scenario);
        let mut bench = Memory::crashing((0..=whole.entries()).collect());
        let came = bench.run(&scenario.spec, &scenario.input, &world);
        assert_eq!(came, expected, "{}", scenario.name);
        judge(&scenario, &came, &world, "many crashes");
    }
}

#[test]
fn what_goes_round_and_round_comes_to_an_end() {
    let scenario = scenarios::endless();
    let world = World::new(&scenario);
    let came = Memory::default().run(&scenario.spec, &scenario.input, &world);
    judge(&scenario, &came, &world, "undisturbed");
}

/// Answers are read again when an execution is begun again, so there is an end to them.
#[test]
fn there_is_an_end_to_what_is_kept_of_answers() {
    let scenario = scenarios::too_many_answers(70);
    let world = World::new(&scenario);
    let mut whole = Memory::default();
    let expected = whole.run(&scenario.spec, &scenario.input, &world);
    let Came::To(End::Failed { fault, .. }) = &expected else { panic!("{expected:?}") };
    assert!(fault.words().contains("67108864 bytes together"), "{fault:?}");
    let asked = world.requests();
    assert!(asked < 70, "{asked}");
    let world = World::new(&scenario);
    let mut bench = Memory::crashing(vec![whole.entries() - 3]);
    assert_eq!(bench.run(&scenario.spec, &scenario.input, &world), expected);
    assert_eq!(world.requests(), asked, "it is the same when it is begun again");
}

/// A request that must not be sent twice is not: if it cannot be known whether it arrived, that is said.
#[test]
fn a_crash_in_the_middle_of_a_request_is_known_for_what_it_is() {
    for (method, sent, fails) in [("get", 2, false), ("put", 2, false), ("post", 1, true), ("patch", 1, true)]
    {
        let scenario = scenarios::one_request(method);
        let world = World::new(&scenario);
        let came = Memory::cut_in_request().run(&scenario.spec, &scenario.input, &world);
        assert_eq!(world.requests(), sent, "{method}");
        match came {
            Came::To(End::Failed { fault, task }) if fails => {
                assert_eq!(fault.kind, stigmer::workflow::fault::INTERRUPTED);
                assert_eq!(task.as_deref(), Some("/do/0/call"));
            }
            Came::To(End::Completed(_)) if !fails => {}
            other => panic!("{method}: {other:?}"),
        }
    }
}

/// Whoever says that it may be sent again has it sent again.
#[test]
fn a_request_that_was_cut_off_is_retried_if_the_workflow_says_so() {
    let scenario = scenarios::one_request_with_retry("post");
    let world = World::new(&scenario);
    let came = Memory::cut_in_request().run(&scenario.spec, &scenario.input, &world);
    assert_eq!(world.requests(), 2);
    assert!(matches!(came, Came::To(End::Completed(_))), "{came:?}");
}

/// What is in the journal is asked before anything is evaluated, so a finished task needs its secrets no more.
#[test]
fn a_finished_request_is_replayed_without_its_secrets() {
    let scenario = scenarios::one_secret();
    let world = World::new(&scenario);
    let mut whole = Memory::default();
    let expected = whole.run(&scenario.spec, &scenario.input, &world);
    let is_outcome = |entry: &Entry| !entry.data["ended"].is_null();
    let known = whole.journal().iter().position(is_outcome).expect("an outcome") + 1;
    for crash in known..=whole.entries() {
        let world = World::new(&scenario);
        let came = Memory::losing_secrets(crash).run(&scenario.spec, &scenario.input, &world);
        assert_eq!(came, expected, "crash behind entry {crash}");
        judge(&scenario, &came, &world, &format!("crash behind entry {crash}"));
    }
    // Before that the secret is needed.
    let world = World::new(&scenario);
    let came = Memory::losing_secrets(known - 1).run(&scenario.spec, &scenario.input, &world);
    let Came::To(End::Failed { fault, .. }) = came else { panic!("{came:?}") };
    assert!(fault.kind.ends_with("/authorization"), "{fault:?}");
}

#[test]
fn called_off_at_every_entry_nothing_more_happens() {
    for scenario in scenarios() {
        let world = World::new(&scenario);
        let mut whole = Memory::default();
        whole.run(&scenario.spec, &scenario.input, &world);
        for at in 0..whole.entries() {
            let world = World::new(&scenario);
            let mut bench = Memory::cancelled_at(at);
            let came = bench.run(&scenario.spec, &scenario.input, &world);
            assert_eq!(came, Came::Cancelled, "{}: at entry {at}", scenario.name);
            assert!(bench.entries() <= at + 3, "{}", scenario.name);
        }
    }
}
