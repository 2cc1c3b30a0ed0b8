//! The tables, and how an older file becomes a newer one.

use rusqlite::Connection;

/// The schema this version reads and writes.
pub(super) const VERSION: u32 = 1;

/// Step `n` makes schema `n + 1` of schema `n`. Steps are only ever added.
const STEPS: [&str; VERSION as usize] = ["
    CREATE TABLE definition (
        digest TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        spec TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE resource (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        digest TEXT NOT NULL REFERENCES definition (digest),
        created TEXT NOT NULL,
        updated TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        id TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        created TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE execution (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        digest TEXT NOT NULL REFERENCES definition (digest),
        phase TEXT NOT NULL,
        session TEXT REFERENCES session (id),
        parent TEXT REFERENCES execution (id),
        parent_task TEXT,
        key TEXT UNIQUE,
        lease TEXT UNIQUE,
        lease_worker TEXT,
        lease_n INTEGER NOT NULL DEFAULT 0,
        input TEXT NOT NULL,
        output TEXT,
        state TEXT NOT NULL,
        UNIQUE (parent, parent_task)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX execution_open ON execution (kind, id) WHERE phase IN ('PENDING', 'IN_PROGRESS');
    CREATE INDEX execution_session ON execution (session, id) WHERE session IS NOT NULL;
    CREATE INDEX execution_name ON execution (name, id);
    CREATE TABLE event (
        execution TEXT NOT NULL REFERENCES execution (id),
        seq INTEGER NOT NULL,
        time TEXT NOT NULL,
        type TEXT NOT NULL,
        task TEXT,
        data TEXT NOT NULL,
        PRIMARY KEY (execution, seq)
    ) STRICT, WITHOUT ROWID;
"];

/// Brings the database to [`VERSION`]. Gives the schema it has if that is a later one, and then changes nothing.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Option<u32>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Ok(Some(found));
    }
    for step in STEPS.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(None)
}
