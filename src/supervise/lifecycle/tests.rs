//! Schedules of events with a scripted clock.

use super::*;
use std::time::Duration;

pub(in crate::supervise) fn policy() -> Policy {
    Policy {
        hang_timeout: Some(Duration::from_secs(40)),
        ..Policy::new(Duration::from_secs(60), Duration::from_secs(10))
    }
}

fn started(now: Instant) -> Lifecycle {
    let mut life = Lifecycle::new(policy());
    assert_eq!(life.on(Event::Start, now, 0.0), Action::Spawn);
    life
}

fn ready(now: Instant) -> Lifecycle {
    let mut life = started(now);
    assert_eq!(life.on(Event::Ready, now, 0.0), Action::None);
    assert_eq!(life.phase(), Phase::Ready);
    life
}

/// Lets it end at `now`, and gives how long it pauses.
fn end(life: &mut Lifecycle, now: Instant) -> Duration {
    assert_eq!(life.on(Event::Ended(Some(1)), now, 0.0), Action::None);
    life.next_start().expect("a pause has an end").duration_since(now)
}

/// Waits until its timer, and lets that happen.
fn due(life: &mut Lifecycle, now: &mut Instant) -> Action {
    *now = life.timer().expect("a time is set");
    life.on(Event::Timer, *now, 0.0)
}

#[test]
fn an_end_is_answered_by_a_restart_after_a_growing_pause() {
    let mut now = Instant::now();
    let mut life = ready(now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        // Just rarely enough that it is no crash loop.
        now += Duration::from_secs(16);
        pauses.push(end(&mut life, now).as_millis());
        assert_eq!(life.phase(), Phase::Restarting);
        assert_eq!(due(&mut life, &mut now), Action::Spawn);
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    assert_eq!(life.restarts(), 8);
}

#[test]
fn five_ends_within_a_minute_are_a_crash_loop_until_it_is_ready_for_a_minute() {
    let mut now = Instant::now();
    let mut life = ready(now);
    for _ in 0..4 {
        end(&mut life, now);
        assert_eq!(life.phase(), Phase::Restarting);
        due(&mut life, &mut now);
        life.on(Event::Ready, now, 0.0);
    }
    assert_eq!(end(&mut life, now), Duration::from_secs(30));
    assert_eq!(life.phase(), Phase::CrashLooping);
    assert_eq!(due(&mut life, &mut now), Action::Spawn);
    life.on(Event::Ready, now, 0.0);
    // Ready again, but not proven: the next end is one of the loop.
    assert!(life.is_looping());
    assert_eq!(end(&mut life, now + Duration::from_secs(59)), Duration::from_secs(30));
    assert_eq!(life.phase(), Phase::CrashLooping);
    due(&mut life, &mut now);
    life.on(Event::Ready, now, 0.0);
    assert_eq!(due(&mut life, &mut now), Action::None);
    assert!(!life.is_looping());
    assert_eq!((life.phase(), life.timer()), (Phase::Ready, None));
    assert_eq!(end(&mut life, now), Duration::from_millis(500));
    assert_eq!(life.phase(), Phase::Restarting);
    assert_eq!(life.restarts(), 6, "all of them are counted");
}

#[test]
fn a_minute_of_readiness_makes_the_pause_short_again() {
    let mut now = Instant::now();
    let mut life = ready(now);
    for _ in 0..4 {
        end(&mut life, now);
        due(&mut life, &mut now);
        life.on(Event::Ready, now, 0.0);
    }
    now += Duration::from_secs(60);
    assert_eq!(end(&mut life, now), Duration::from_millis(500));
    assert_eq!((life.phase(), life.restarts()), (Phase::Restarting, 4));
}

#[test]
fn chance_shortens_a_pause_by_a_quarter_at_most() {
    assert_eq!(budget::jittered(Duration::from_secs(2), 1.0), Duration::from_millis(1500));
    assert_eq!(budget::jittered(policy().pause(99), 0.0), Duration::from_secs(30));
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
    let mut now = Instant::now();
    let mut life = started(now);
    assert_eq!(life.timer(), Some(now + Duration::from_secs(60)));
    assert_eq!(life.on(Event::Timer, now, 0.0), Action::None, "it is not time yet");
    assert_eq!(due(&mut life, &mut now), Action::Kill(Because::NotReady));
    let mut life = ready(now);
    assert_eq!(life.on(Event::Stop, now, 0.0), Action::Terminate);
    assert_eq!(life.timer(), Some(now + Duration::from_secs(10)));
    assert_eq!(due(&mut life, &mut now), Action::Kill(Because::NotEnded));
    assert_eq!(life.phase(), Phase::Stopping);
    assert_eq!(due(&mut life, &mut now), Action::Kill(Because::NotEnded), "until its end is heard");
    life.on(Event::Ended(None), now, 0.0);
    assert_eq!((life.phase(), life.timer()), (Phase::Stopped, None));
}

#[test]
fn a_refusal_gives_a_short_grace() {
    let now = Instant::now();
    let mut life = started(now);
    assert_eq!(life.on(Event::Refused, now, 0.0), Action::Terminate);
    assert_eq!(life.timer(), Some(now + Duration::from_secs(2)));
}

#[test]
fn readiness_is_withdrawn_and_given_back() {
    let now = Instant::now();
    let mut life = ready(now);
    assert_eq!(life.on(Event::Withdraw, now, 0.0), Action::None);
    assert_eq!(life.phase(), Phase::Unresponsive);
    assert_eq!(life.timer(), Some(now + Duration::from_secs(40)));
    assert_eq!(life.on(Event::Restore, now, 0.0), Action::None);
    assert_eq!((life.phase(), life.timer(), life.restarts()), (Phase::Ready, None, 0));
    // Only what was ready can lose it.
    let mut life = started(now);
    life.on(Event::Withdraw, now, 0.0);
    assert_eq!(life.phase(), Phase::Starting);
}

#[test]
fn who_hangs_for_too_long_is_killed_and_started_again() {
    let mut now = Instant::now();
    let mut life = ready(now);
    life.on(Event::Withdraw, now, 0.0);
    assert_eq!(due(&mut life, &mut now), Action::Kill(Because::Hung));
    life.on(Event::Restore, now, 0.0);
    assert_eq!(life.phase(), Phase::Unresponsive, "it is being killed");
    life.on(Event::Ended(None), now, 0.0);
    assert_eq!(life.phase(), Phase::Restarting);
    assert_eq!(due(&mut life, &mut now), Action::Spawn);
}

#[test]
fn a_sleep_of_the_machine_is_no_hang_and_without_a_limit_nothing_is() {
    let now = Instant::now();
    let mut life = ready(now);
    life.on(Event::Withdraw, now, 0.0);
    let later = now + Duration::from_secs(3600);
    life.on(Event::Slept, later, 0.0);
    assert_eq!(life.timer(), Some(later + Duration::from_secs(40)));
    let mut life = Lifecycle::new(Policy { hang_timeout: None, ..policy() });
    for event in [Event::Start, Event::Ready, Event::Withdraw] {
        life.on(event, now, 0.0);
    }
    assert_eq!((life.phase(), life.timer()), (Phase::Unresponsive, None));
}

#[test]
fn phases_are_written_as_they_are_named() {
    for phase in [Phase::Waiting, Phase::CrashLooping, Phase::Unresponsive, Phase::Restarting] {
        assert_eq!(serde_json::to_value(phase).expect("serializes"), phase.name());
    }
}
