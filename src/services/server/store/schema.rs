//! The tables and indexes of the database.
//!
//! The row of an execution holds its state in columns and nothing long: input, message, output and error stand once, in the first and
//! the last event of its journal. Indexes that the hot path uses are partial and hold open executions only, so that their size, and the
//! cost of a query, do not grow with history. `n` is the order of creation; lists are paged by it.

use rusqlite::Connection;

/// The schema this version reads and writes.
pub(super) const VERSION: u32 = 2;

pub(super) const TABLES: &str = "
    CREATE TABLE definition (
        n INTEGER PRIMARY KEY,
        digest TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        spec TEXT NOT NULL
    ) STRICT;
    CREATE TABLE resource (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        definition INTEGER NOT NULL REFERENCES definition (n),
        created TEXT NOT NULL,
        updated TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        id TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE execution (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        engine TEXT NOT NULL,
        definition INTEGER NOT NULL REFERENCES definition (n),
        session TEXT REFERENCES session (id),
        parent INTEGER REFERENCES execution (n),
        parent_task TEXT,
        key TEXT,
        phase TEXT NOT NULL,
        created INTEGER NOT NULL,
        started INTEGER,
        ended INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        input_tokens INTEGER,
        output_tokens INTEGER,
        last_seq INTEGER NOT NULL,
        lease TEXT,
        lease_worker TEXT,
        lease_n INTEGER NOT NULL DEFAULT 0,
        -- Since when a worker can take it; NULL while it is held, suspended, or ended.
        ready INTEGER,
        -- What wakes it while it is suspended.
        wake_at INTEGER,
        wakes_on_children INTEGER NOT NULL DEFAULT 0,
        -- A child has ended since the current or last lease was granted.
        child_ended INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE event (
        execution INTEGER NOT NULL REFERENCES execution (n),
        seq INTEGER NOT NULL,
        time INTEGER NOT NULL,
        type TEXT NOT NULL,
        task TEXT,
        data TEXT NOT NULL,
        PRIMARY KEY (execution, seq)
    ) STRICT, WITHOUT ROWID;
    -- Deleted executions whose workspaces are still to be removed.
    CREATE TABLE workspace_removal (
        id TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
";

pub(super) const INDEXES: &str = "
    CREATE INDEX resource_definition ON resource (definition);
    CREATE INDEX execution_definition ON execution (definition);
    CREATE INDEX execution_kind ON execution (kind, phase);
    CREATE INDEX execution_name ON execution (name, kind, phase);
    CREATE INDEX execution_session ON execution (session) WHERE session IS NOT NULL;
    CREATE INDEX execution_ready ON execution (kind, ready) WHERE ready IS NOT NULL;
    CREATE INDEX execution_wake ON execution (wake_at) WHERE wake_at IS NOT NULL AND ready IS NULL;
    CREATE INDEX execution_open_children ON execution (parent) WHERE parent IS NOT NULL AND ended IS NULL;
    CREATE INDEX execution_ended ON execution (parent, ended) WHERE ended IS NOT NULL AND parent IS NULL;
    CREATE UNIQUE INDEX execution_key ON execution (key) WHERE key IS NOT NULL;
    CREATE UNIQUE INDEX execution_lease ON execution (lease) WHERE lease IS NOT NULL;
    CREATE UNIQUE INDEX execution_task ON execution (parent, parent_task) WHERE parent IS NOT NULL;
";

/// Creates the tables and indexes of [`VERSION`] in an empty database.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(INDEXES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
