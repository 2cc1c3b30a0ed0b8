//! A database of schema 1, written with its own statements, becomes one of today's.

use super::*;
use crate::services::server::journal::{
    self, JournalEvent, Kind, Outcome, Phase, Report, Which, events_after, find, list,
};
use crate::services::server::store::Store;
use rusqlite::params;
use serde_json::{Value, json};
use stigmer_protocol::api::leases::{HistoryMessage, Role};

/// The tables and indexes of schema 1.
const SCHEMA_1: &str = "
    CREATE TABLE definition (digest TEXT PRIMARY KEY, kind TEXT NOT NULL, spec TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE resource (
        kind TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL REFERENCES definition (digest),
        created TEXT NOT NULL, updated TEXT NOT NULL, PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (id TEXT PRIMARY KEY, agent TEXT NOT NULL, created TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE execution (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL,
        digest TEXT NOT NULL REFERENCES definition (digest), phase TEXT NOT NULL,
        session TEXT REFERENCES session (id), parent TEXT REFERENCES execution (id), parent_task TEXT,
        key TEXT UNIQUE, lease TEXT UNIQUE, lease_worker TEXT, lease_n INTEGER NOT NULL DEFAULT 0,
        input TEXT NOT NULL, output TEXT, state TEXT NOT NULL, UNIQUE (parent, parent_task)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX execution_open ON execution (kind, id) WHERE phase IN ('PENDING', 'IN_PROGRESS');
    CREATE INDEX execution_session ON execution (session, id) WHERE session IS NOT NULL;
    CREATE INDEX execution_name ON execution (name, id);
    CREATE TABLE event (
        execution TEXT NOT NULL REFERENCES execution (id), seq INTEGER NOT NULL, time TEXT NOT NULL,
        type TEXT NOT NULL, task TEXT, data TEXT NOT NULL, PRIMARY KEY (execution, seq)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// Writes an execution as version 1 did: its events, and the sum of them as JSON beside them.
fn write(old: &Connection, columns: &Value, events: &[(&str, Option<&str>, Value)]) {
    let text = |key: &str| columns[key].as_str();
    let id = text("id").unwrap();
    let time = |at: usize| format!("2026-01-02T03:04:{at:02}.678Z");
    let data = json!({
        "kind": columns["kind"], "name": columns["name"], "digest": columns["digest"], "input": columns["input"],
        "message": columns["message"], "session": columns["session"], "parent": columns["parent"], "resumes": null,
    });
    let created = ("created", None, data);
    let all: Vec<_> = std::iter::once(&created).chain(events).collect();
    let last = all.last().unwrap();
    let phase = match last.0 {
        "created" => "PENDING",
        "completed" => "COMPLETED",
        "failed" => "FAILED",
        "cancelled" => "CANCELLED",
        _ => "IN_PROGRESS",
    };
    let usage = all.iter().find(|event| event.0 == "usage").map(|event| event.2.clone());
    let place = |kind: &str| all.iter().position(|event| event.0 == kind).map(time);
    let state = json!({
        "id": id, "kind": columns["kind"], "name": columns["name"], "digest": columns["digest"], "phase": phase,
        "input": null, "attempt": all.iter().filter(|event| event.0 == "started").count(),
        "cancel_requested": all.iter().any(|event| event.0 == "cancel.requested"), "output": null,
        "error": last.2["error"], "usage": usage, "created": time(0), "started": place("started"),
        "ended": (phase != "PENDING" && phase != "IN_PROGRESS").then(|| time(all.len() - 1)),
        "last_seq": all.len(),
    });
    let output = (phase == "COMPLETED").then(|| last.2["output"].to_string());
    old.execute(
        "INSERT INTO execution (id, kind, name, digest, phase, session, parent, parent_task, key, lease, lease_worker,
         lease_n, input, output, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            id, text("kind"), text("name"), text("digest"), phase, text("session"), text("parent"), text("task"),
            text("key"), text("lease"), text("worker"), columns["lease_n"].as_u64().unwrap_or(0),
            columns["input"].to_string(), output, state.to_string()
        ],
    )
    .unwrap();
    for (at, (kind, task, data)) in all.iter().enumerate() {
        old.execute(
            "INSERT INTO event (execution, seq, time, type, task, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, at + 1, time(at), kind, task, data.to_string()],
        )
        .unwrap();
    }
}

/// A database as version 1 left it: what has ended, what waits for a worker, what a worker holds, a parent and its child.
fn fixture(path: &Path) {
    let old = Connection::open(path).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(SCHEMA_1).unwrap();
    for (digest, kind, spec) in
        [("d-a", "agent", json!({"instructions": "x"})), ("d-w", "workflow", json!({"do": []}))]
    {
        old.execute("INSERT INTO definition VALUES (?1, ?2, ?3)", params![digest, kind, spec.to_string()])
            .unwrap();
        old.execute(
            "INSERT INTO resource VALUES (?1, ?2, ?3, 't1', 't2')",
            params![kind, &digest[2..], digest],
        )
        .unwrap();
    }
    old.execute("INSERT INTO session VALUES ('01', 'a', '2026-01-02T03:04:00.678Z')", []).unwrap();
    let agent = json!({"kind": "agent", "name": "a", "digest": "d-a", "input": null});
    let workflow = json!({"kind": "workflow", "name": "w", "digest": "d-w", "input": {"big": 9_007_199_254_740_993_u64}});
    let with = |base: &Value, more: Value| {
        let mut all = base.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let started = || ("started", None, json!({"worker": "w-1", "attempt": 1}));
    let said = json!({"id": "01", "message": "hello", "session": "01", "key": "k"});
    let usage = json!({"input_tokens": 7, "output_tokens": 9});
    let answered = ("completed", None, json!({"output": {"text": "hi"}}));
    write(&old, &with(&agent, said), &[started(), ("usage", None, usage), answered]);
    write(&old, &with(&workflow, json!({"id": "02"})), &[]);
    let held = json!({"id": "03", "lease": "l-3", "worker": "w-1", "lease_n": 1});
    write(&old, &with(&workflow, held), &[started(), ("effect", Some("/do/0"), json!({"begun": "GET"}))]);
    let error = json!({"error": {"type": "t", "message": "m"}});
    write(&old, &with(&workflow, json!({"id": "04"})), &[started(), ("failed", None, error)]);
    let called = json!({"id": "05", "message": "child", "session": "01", "parent": "03", "task": "/do/0"});
    write(
        &old,
        &with(&agent, called),
        &[started(), ("cancel.requested", None, json!({})), ("cancelled", None, json!({}))],
    );
}

fn with_store<T>(path: &Path, work: impl AsyncFnOnce(Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { work(Store::open(path).unwrap()).await })
}

#[test]
fn database_of_schema_1_is_migrated_and_its_executions_come_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stigmer.db");
    fixture(&path);
    with_store(&path, async |store| {
        let work = |tx: &crate::services::server::store::Tx| {
            let all = list(tx, Which::default(), 100)?;
            let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
            assert_eq!(ids, ["05", "04", "03", "02", "01"]);
            // Each row is the sum of its events, as it was before.
            for one in &all {
                let events = events_after(tx, &one.id, 0, 100)?;
                let events: Vec<JournalEvent> =
                    events.into_iter().map(|event| event.try_into().unwrap()).collect();
                let mut sum = journal::Execution::begin(&one.id, &events[0]).unwrap();
                events[1..].iter().for_each(|event| sum.apply(event));
                assert_eq!(sum, *one);
                assert_eq!(events[0].time, "2026-01-02T03:04:00.678Z");
            }
            assert_eq!(all[4].output, Some(json!({"text": "hi"})));
            let usage = all[4].usage.unwrap();
            assert_eq!((usage.input_tokens, usage.output_tokens), (7, 9));
            assert_eq!(all[0].parent.as_deref(), Some("03"));
            assert_eq!(all[2].input["big"], 9_007_199_254_740_993_u64);
            // What was held is held, and what was not can be taken.
            let standing = journal::standing(tx)?;
            assert_eq!((standing.len(), standing[0].lease.as_str(), standing[0].last_n), (1, "l-3", 1));
            let leased = journal::lease(tx, &"w-2".into(), &[Kind::Workflow], 1, 10)?;
            assert_eq!((leased.len(), leased[0].execution.id.as_str()), (1, "02"));
            assert_eq!(leased[0].definition, json!({"do": []}));
            for lease in [&"l-3".into(), &leased[0].lease] {
                let outcome = Some(Outcome::Completed(json!(1)));
                journal::report(tx, lease, Report::new(Vec::new(), outcome).unwrap())?;
            }
            assert_eq!(
                (find(tx, &"02".into())?.phase, find(tx, &"03".into())?.phase),
                (Phase::Completed, Phase::Completed)
            );
            // A key, a session and a name mean what they meant.
            let new = journal::NewExecution {
                name: "a".into(),
                message: Some("more".into()),
                session: Some("01".into()),
                ..journal::NewExecution::default()
            };
            let known = journal::NewExecution { key: Some("k".into()), ..new.clone() };
            assert_eq!(journal::create(tx, &known)?.0.id, "01");
            journal::create(tx, &new)?;
            let leased = journal::lease(tx, &"w-2".into(), &[Kind::Agent], 1, 1)?;
            assert_eq!(
                leased[0].history,
                [(Role::User, "hello"), (Role::Assistant, "hi")]
                    .map(|(role, text)| HistoryMessage { role, text: Some(text.to_owned()) })
            );
            Ok(())
        };
        store.write(work).await.unwrap();
    });
    // The old file is whole, and nothing else is left.
    let old = Connection::open(beside(&path, ".schema-1")).unwrap();
    let count: u32 = old.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 4 + 1 + 3 + 3 + 4);
    assert!(!beside(&path, ".new").exists());
    with_store(&path, async |store| {
        let found = store.read(|tx| find(tx, &"02".into())).await.unwrap();
        assert_eq!(found.phase, Phase::Completed, "it is migrated once");
    });
}

#[test]
fn interrupted_migration_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stigmer.db");
    fixture(&path);
    // While the new file is written.
    std::fs::write(beside(&path, ".new"), "half of a database").unwrap();
    settle(&path).unwrap();
    // Between the two renames.
    std::fs::rename(&path, beside(&path, ".schema-1")).unwrap();
    with_store(&path, async |store| {
        assert_eq!(store.read(|tx| find(tx, &"02".into())).await.unwrap().phase, Phase::Pending);
    });
}

#[test]
fn database_that_cannot_be_migrated_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stigmer.db");
    fixture(&path);
    let old = Connection::open(&path).unwrap();
    old.execute_batch("PRAGMA foreign_keys = OFF; UPDATE execution SET session = 'nowhere' WHERE id = '01'")
        .unwrap();
    drop(old);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Migration { found: 1, .. }), "{error}");
    let text = stigmer_protocol::report::chain(&error);
    assert!(text.contains("stigmer.db") && text.contains("`execution`"), "{text}");
    let version: u32 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
}

/// The steps of the virtual machine that a migration of `count` executions takes.
fn steps(count: u32) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stigmer.db");
    fixture(&path);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO execution (id, kind, name, digest, phase, session, parent, parent_task, input, state)
         SELECT printf('1%09d', i), kind, name, digest, phase, session, '03', printf('/do/%d', i), input, state
         FROM n, execution WHERE id = '05';
         INSERT INTO event SELECT x.id, e.seq, e.time, e.type, e.task, e.data
         FROM execution x, event e WHERE x.id > '1' AND e.execution = '05'"
    ))
    .unwrap();
    drop(old);
    settle(&path).unwrap();
    copy(&path, &beside(&path, ".new")).unwrap()
}

#[test]
fn migration_takes_steps_in_proportion_to_the_rows() {
    let (few, many) = (steps(200), steps(2000));
    assert!(few > 0 && many < few * 12, "{few} {many}");
}
