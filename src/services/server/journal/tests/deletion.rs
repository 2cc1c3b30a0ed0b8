//! Deleting executions: what goes, what stays because it is needed, and in which steps.

use super::*;
use crate::services::server::store::statements::{
    CHILDREN, DEFINITION_FORGET, EVENTS_DELETE, EXECUTION_DELETE, REMOVAL_INSERT, SESSION_FORGET,
    SESSION_NEWEST,
};
use rusqlite::StatementStatus;

fn complete(tx: &Tx, id: &ExecutionId) {
    let kinds = [Kind::Agent, Kind::Workflow];
    let leased = lease(tx, &"w".into(), &kinds, 1, 100).unwrap();
    for one in leased.iter().filter(|one| one.execution.id == *id) {
        let outcome = Some(Outcome::Completed(json!({"text": "done"})));
        report(tx, &one.lease, reports(Vec::new(), outcome)).unwrap();
    }
    assert!(find(tx, id).unwrap().phase.is_terminal());
}

fn child(tx: &Tx, parent: &ExecutionId, task: &str) -> Execution {
    let new = NewExecution {
        name: "a".to_owned(),
        message: Some("child".to_owned()),
        parent: Some((parent.clone(), task.to_owned())),
        ..NewExecution::default()
    };
    create(tx, &new).unwrap().0
}

fn ids(tx: &Tx) -> Vec<ExecutionId> {
    list(tx, Which::default(), 1000).unwrap().into_iter().map(|one| one.id).collect()
}

fn count(tx: &Tx, table: &str) -> u32 {
    tx.raw().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Deletes what may be deleted in as many steps as it takes. Gives the size of each step.
fn prune_all(tx: &Tx, keep: u32) -> Vec<usize> {
    let Some(boundary) = boundary(tx, i64::MAX, keep).unwrap() else { return Vec::new() };
    let (mut next, mut sizes) = (Some(Place::START), Vec::new());
    while let Some(after) = next {
        let batch = prune(tx, after, boundary, false).unwrap();
        sizes.push(batch.executions.len());
        next = batch.next;
    }
    sizes
}

#[test]
fn execution_is_deleted_with_everything_that_only_it_refers_to() {
    with_store(|tx| {
        let execution = agent_run(tx, None).unwrap();
        let refusal = delete(tx, &execution.id).unwrap_err().to_string();
        assert!(refusal.contains("has not ended"), "{refusal}");
        complete(tx, &execution.id);
        resources::delete(tx, Kind::Agent, "a").unwrap();
        assert!(delete(tx, &execution.id).unwrap());
        for (table, left) in [("execution", 0), ("event", 0), ("session", 0), ("definition", 1)] {
            assert_eq!(count(tx, table), left, "{table}");
        }
        assert_eq!(removals(tx, "", 10).unwrap(), std::slice::from_ref(&execution.id));
        assert_eq!(removals(tx, &execution.id, 10).unwrap(), Vec::<ExecutionId>::new());
        removal_done(tx, std::slice::from_ref(&execution.id)).unwrap();
        assert_eq!(removals(tx, "", 10).unwrap(), Vec::<ExecutionId>::new());
        let refusal = delete(tx, &execution.id).unwrap_err().to_string();
        assert!(refusal.contains("not found"), "{refusal}");
    });
}

#[test]
fn child_stays_while_its_parent_runs_and_goes_with_it() {
    with_store(|tx| {
        let parent = workflow_run(tx);
        let held = take_one(tx, "w", Kind::Workflow).unwrap();
        let child = child(tx, &parent, "/do/0").id;
        complete(tx, &child);
        let refusal = delete(tx, &child).unwrap_err().to_string();
        assert!(refusal.contains(parent.as_str()) && refusal.contains("has not ended"), "{refusal}");
        assert_eq!(prune_all(tx, 0), [0]);
        report(tx, &held.lease, reports(Vec::new(), Some(Outcome::Completed(json!(1))))).unwrap();
        assert_eq!(prune_all(tx, 0), [2]);
        assert_eq!((ids(tx), count(tx, "event")), (Vec::new(), 0));
        assert_eq!(removals(tx, "", 10).unwrap(), [child], "only agents have workspaces");
    });
}

#[test]
fn parent_stays_while_a_child_runs() {
    with_store(|tx| {
        let parent = workflow_run(tx);
        let held = take_one(tx, "w", Kind::Workflow).unwrap();
        let child = child(tx, &parent, "/do/0").id;
        let working = take_one(tx, "w", Kind::Agent).unwrap();
        // The child is asked to end, and its worker has not heard of it.
        report(tx, &held.lease, reports(Vec::new(), Some(Outcome::Completed(json!(1))))).unwrap();
        let refusal = delete(tx, &parent).unwrap_err().to_string();
        assert!(refusal.contains(child.as_str()), "{refusal}");
        assert_eq!(prune_all(tx, 0), [0]);
        report(tx, &working.lease, reports(Vec::new(), Some(Outcome::Cancelled))).unwrap();
        // A child of what has ended can go by itself.
        assert!(delete(tx, &child).unwrap());
        assert!(delete(tx, &parent).unwrap());
    });
}

#[test]
fn history_of_a_session_stays_while_one_of_its_executions_runs() {
    with_store(|tx| {
        let lost = agent_run(tx, None).unwrap();
        let leased = take_one(tx, "w", Kind::Agent).unwrap();
        expire(tx, &leased.lease, false).unwrap();
        let again = resume(tx, &lost.id).unwrap().0;
        let refusal = delete(tx, &lost.id).unwrap_err().to_string();
        assert!(refusal.contains(again.id.as_str()) && refusal.contains("session"), "{refusal}");
        assert_eq!(prune_all(tx, 0), [0]);
        complete(tx, &again.id);
        assert!(delete(tx, &lost.id).unwrap());
        assert_eq!(count(tx, "session"), 1, "it has an execution left");
        let more = agent_run(tx, again.session.clone()).unwrap();
        complete(tx, &more.id);
        assert_eq!(prune_all(tx, 0), [2]);
        assert_eq!(count(tx, "session"), 0);
    });
}

#[test]
fn the_newest_ends_are_kept_and_age_counts_from_the_end() {
    with_store(|tx| {
        let all: Vec<ExecutionId> = (0..6).map(|_| workflow_run(tx)).collect();
        // They end in another order than they began, the last two at the same time; the first is open.
        for (n, ended) in [(1, 500), (2, 300), (3, 100), (4, 400), (5, 400)] {
            cancel(tx, &all[n]).unwrap();
            tx.raw()
                .execute("UPDATE execution SET ended = ?2 WHERE id = ?1", (all[n].as_str(), ended))
                .unwrap();
        }
        let would = |until, keep| {
            let Some(boundary) = boundary(tx, until, keep).unwrap() else { return Vec::new() };
            let batch = prune(tx, Place::START, boundary, true).unwrap();
            let place = |id| all.iter().position(|known| known == id).unwrap();
            batch.executions.iter().map(place).collect::<Vec<_>>()
        };
        assert_eq!(would(i64::MAX, 0), [3, 2, 4, 5, 1]);
        assert_eq!(would(300, 0), [3, 2]);
        assert_eq!(would(99, 0), Vec::<usize>::new());
        assert_eq!(would(i64::MAX, 2), [3, 2, 4]);
        assert_eq!(would(i64::MAX, 5), Vec::<usize>::new());
        assert_eq!(would(100, 2), [3], "both have to allow it");
        assert_eq!(would(400, 4), [3]);
        assert_eq!(prune_all(tx, 2), [3]);
        assert_eq!(prune_all(tx, 2), Vec::<usize>::new());
        assert_eq!(ids(tx).len(), 3);
    });
}

#[test]
fn many_executions_and_large_trees_are_deleted_in_limited_steps() {
    with_store(|tx| {
        let parent = workflow_run(tx);
        let held = take_one(tx, "w", Kind::Workflow).unwrap();
        for n in 0..600 {
            let one = child(tx, &parent, &format!("/do/{n}"));
            cancel(tx, &one.id).unwrap();
        }
        report(tx, &held.lease, reports(Vec::new(), Some(Outcome::Completed(json!(1))))).unwrap();
        for _ in 0..600 {
            cancel(tx, &workflow_run(tx)).unwrap();
        }
        let open = workflow_run(tx);
        let sizes = prune_all(tx, 0);
        assert_eq!(sizes.iter().sum::<usize>(), 1201);
        assert!(sizes.iter().all(|size| *size <= 500), "{sizes:?}");
        assert_eq!(ids(tx), [open]);

        // One by itself takes several steps as well.
        let parent = workflow_run(tx);
        cancel(tx, &ids(tx)[1]).unwrap();
        let held = take_one(tx, "w", Kind::Workflow).unwrap();
        for n in 0..600 {
            cancel(tx, &child(tx, &parent, &format!("/do/{n}")).id).unwrap();
        }
        report(tx, &held.lease, reports(Vec::new(), Some(Outcome::Completed(json!(1))))).unwrap();
        assert!(!delete(tx, &parent).unwrap());
        assert!(find(tx, &parent).is_ok(), "the parent goes last");
        assert!(delete(tx, &parent).unwrap());
        assert!(find(tx, &parent).is_err());
    });
}

/// The steps of `SQLite`'s virtual machine that deleting one of `total` executions takes.
fn steps(total: usize) -> u64 {
    with_store(move |tx| {
        for n in 0..total {
            let execution = agent_run(tx, None).unwrap();
            cancel(tx, &execution.id).unwrap();
            if n % 2 == 0 {
                cancel(tx, &workflow_run(tx)).unwrap();
            }
        }
        let newest = ids(tx)[0].clone();
        // A prepared statement counts its steps over all its runs, and looks foreign keys up in them.
        let statements = [
            CHILDREN,
            SESSION_NEWEST,
            EVENTS_DELETE,
            EXECUTION_DELETE,
            DEFINITION_FORGET,
            SESSION_FORGET,
            REMOVAL_INSERT,
        ];
        let steps = || -> u64 {
            let count = |statement| tx.prepare(statement).unwrap().reset_status(StatementStatus::VmStep);
            statements.into_iter().map(|statement| u64::try_from(count(statement)).unwrap()).sum()
        };
        steps();
        delete(tx, &newest).unwrap();
        steps()
    })
}

#[test]
fn deleting_one_execution_costs_the_same_whatever_the_others_are() {
    let (few, many) = (steps(10), steps(400));
    assert!(few > 0 && many <= few * 2, "{few} {many}");
}

#[test]
fn deleted_executions_give_their_space_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&dir.path().join("x.db")).expect("opens");
        let pages = async || {
            let read =
                |tx: &Tx| Ok(tx.raw().query_row("PRAGMA page_count", [], |row| row.get::<_, u64>(0))?);
            store.read(read).await.expect("a number")
        };
        store.write(|tx| apply(tx, Kind::Workflow, "w")).await.expect("applied");
        let empty = pages().await;
        let fill = |tx: &Tx| {
            for _ in 0..20 {
                let input = json!("x".repeat(200_000));
                let new = NewExecution { name: "w".to_owned(), input, ..NewExecution::default() };
                cancel(tx, &create(tx, &new)?.0.id)?;
            }
            Ok(())
        };
        store.write(fill).await.expect("written");
        assert!(pages().await > empty + 900);
        store.write(|tx| Ok(prune_all(tx, 0))).await.expect("deleted");
        let mut rounds = 0;
        while store.write(shrink).await.expect("shrunk") {
            rounds += 1;
        }
        assert!(rounds > 1, "it goes in limited steps: {rounds}");
        assert!(pages().await <= empty + 2);
    });
}
