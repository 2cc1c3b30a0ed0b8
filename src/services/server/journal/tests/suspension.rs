//! Executions that wait without a worker.

use super::*;
use stigmer_protocol::time::now_ms;

const FOREVER: Until = Until { wake_at_ms: Some(u64::MAX), on_children: false };

#[test]
fn suspended_execution_waits_without_a_lease_and_wakes_at_its_time() {
    with_store(|tx| {
        let id = workflow_run(tx);
        let leased = take_one(tx, "w", Kind::Workflow).unwrap();
        let soon = u64::try_from(now_ms()).unwrap() + 3_600_000;
        let until = Until { wake_at_ms: Some(soon), ..Until::default() };
        assert!(!suspend(tx, &leased.lease, reports(Vec::new(), None), until).unwrap().is_ready);
        assert!(take_one(tx, "w", Kind::Workflow).is_none());
        assert!(report(tx, &leased.lease, reports(Vec::new(), None)).is_err());
        let waiting = find(tx, &id).unwrap();
        assert_eq!(waiting.phase, Phase::InProgress);
        assert_eq!(
            waiting.waiting_until,
            Some(stigmer_protocol::time::format_ms(i64::try_from(soon).unwrap()))
        );
        assert_eq!(next_wake(tx).unwrap(), i64::try_from(soon).ok());
        assert_eq!(wake(tx).unwrap(), 0, "it is not time yet");
        // An hour passes.
        tx.raw().execute("UPDATE execution SET wake_at = 1", []).unwrap();
        assert_eq!(wake(tx).unwrap(), 1);
        assert_eq!((wake(tx).unwrap(), next_wake(tx).unwrap()), (0, None));
        let again = take_one(tx, "w", Kind::Workflow).unwrap();
        assert_eq!((again.execution.id, again.execution.waiting_until), (id, None));
        assert_eq!(again.events.last().map(|event| event.kind.as_str()), Some("suspended"));
    });
}

#[test]
fn time_that_has_come_and_a_wait_for_nothing_wake_at_once() {
    with_store(|tx| {
        workflow_run(tx);
        for until in [Until { wake_at_ms: Some(1), ..Until::default() }, Until::default()] {
            let leased = take_one(tx, "w", Kind::Workflow).unwrap();
            assert!(suspend(tx, &leased.lease, reports(Vec::new(), None), until).unwrap().is_ready);
        }
        assert!(take_one(tx, "w", Kind::Workflow).is_some());
    });
}

/// A parent in work, its lease, and its child in work, with its lease.
fn parent_and_child(tx: &Tx) -> (Leased, Leased) {
    workflow_run(tx);
    let parent = take_one(tx, "w", Kind::Workflow).unwrap();
    let new = NewExecution {
        name: "a".to_owned(),
        message: Some("child".to_owned()),
        parent: Some((parent.execution.id.clone(), "/do/0".to_owned())),
        ..NewExecution::default()
    };
    create(tx, &new).unwrap();
    (parent, take_one(tx, "w", Kind::Agent).unwrap())
}

const UNTIL_CHILD: Until = Until { wake_at_ms: None, on_children: true };

fn complete(tx: &Tx, lease: &LeaseId) {
    let outcome = Some(Outcome::Completed(json!({"text": "done"})));
    report(tx, lease, reports(Vec::new(), outcome)).unwrap();
}

#[test]
fn end_of_a_child_wakes_its_parent() {
    with_store(|tx| {
        let (parent, child) = parent_and_child(tx);
        assert!(!suspend(tx, &parent.lease, reports(Vec::new(), None), UNTIL_CHILD).unwrap().is_ready);
        assert!(find(tx, &parent.execution.id).unwrap().waiting_on_children);
        assert!(take_one(tx, "w", Kind::Workflow).is_none());
        complete(tx, &child.lease);
        let again = take_one(tx, "w", Kind::Workflow).unwrap();
        assert!(!again.execution.waiting_on_children);
        // What ended before this lease is known to whoever has it: it does not wake again.
        assert!(!suspend(tx, &again.lease, reports(Vec::new(), None), UNTIL_CHILD).unwrap().is_ready);
    });
}

#[test]
fn child_that_ends_before_the_suspension_arrives_wakes_its_parent_at_once() {
    with_store(|tx| {
        let (parent, child) = parent_and_child(tx);
        complete(tx, &child.lease);
        assert!(suspend(tx, &parent.lease, reports(Vec::new(), None), UNTIL_CHILD).unwrap().is_ready);
    });
    with_store(|tx| {
        let (parent, child) = parent_and_child(tx);
        complete(tx, &child.lease);
        assert!(
            !suspend(tx, &parent.lease, reports(Vec::new(), None), FOREVER).unwrap().is_ready,
            "it waits for a time only"
        );
    });
}

#[test]
fn cancelled_child_wakes_its_parent() {
    with_store(|tx| {
        let (parent, child) = parent_and_child(tx);
        suspend(tx, &parent.lease, reports(Vec::new(), None), UNTIL_CHILD).unwrap();
        cancel(tx, &child.execution.id).unwrap();
        expire(tx, &child.lease, false).unwrap();
        assert!(take_one(tx, "w", Kind::Workflow).is_some());
    });
}

#[test]
fn suspended_execution_is_cancelled_at_once_and_so_is_one_that_suspends_too_late() {
    with_store(|tx| {
        let id = workflow_run(tx);
        let leased = take_one(tx, "w", Kind::Workflow).unwrap();
        suspend(tx, &leased.lease, reports(Vec::new(), None), FOREVER).unwrap();
        cancel(tx, &id).unwrap();
        assert_eq!(find(tx, &id).unwrap().phase, Phase::Cancelled);
        let (parent, child) = parent_and_child(tx);
        cancel(tx, &parent.execution.id).unwrap();
        assert_eq!(find(tx, &parent.execution.id).unwrap().phase, Phase::InProgress, "a worker has it");
        suspend(tx, &parent.lease, reports(Vec::new(), None), UNTIL_CHILD).unwrap();
        assert_eq!(find(tx, &parent.execution.id).unwrap().phase, Phase::Cancelled);
        assert!(find(tx, &child.execution.id).unwrap().cancel_requested);
        assert_eq!(next_wake(tx).unwrap(), None);
    });
}

#[test]
fn suspension_is_no_lost_worker_and_sets_the_count_back() {
    with_store(|tx| {
        let id = workflow_run(tx);
        let now = Until::default();
        for _ in 0..10 {
            let leased = take_one(tx, "w", Kind::Workflow).unwrap();
            suspend(tx, &leased.lease, reports(Vec::new(), None), now).unwrap();
        }
        for lost in 0..8 {
            let leased = take_one(tx, "w", Kind::Workflow).unwrap();
            expire(tx, &leased.lease, false).unwrap();
            if lost % 4 == 3 {
                let leased = take_one(tx, "w", Kind::Workflow).unwrap();
                suspend(tx, &leased.lease, reports(Vec::new(), None), now).unwrap();
            }
        }
        assert_eq!(find(tx, &id).unwrap().phase, Phase::InProgress);
    });
}

#[test]
fn events_before_a_suspension_are_recorded_with_it() {
    with_store(|tx| {
        let id = workflow_run(tx);
        let leased = take_one(tx, "w", Kind::Workflow).unwrap();
        let note = reported(1, "note", &json!({"text": "x"}));
        suspend(tx, &leased.lease, reports(vec![note], None), FOREVER).unwrap();
        let kinds: Vec<String> =
            events_after(tx, &id, 0, 100).unwrap().into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, ["created", "started", "note", "suspended"]);
    });
}
