//! Opening a database of any schema: a new one is created, a later one is refused, and for an older one a new file is written beside
//! it, which takes its place when it is complete.
//!
//! The old file is only read. It stays as `stigmer.db.schema-1`, so that a person can go back to the version that wrote it.

use super::StoreError;
use super::schema::{self, INDEXES, TABLES, VERSION};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, OptionalExtension, StatementStatus};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Copies everything in one pass per table; `old` is the attached database.
const COPY: &str = "
    INSERT INTO definition (digest, kind, spec) SELECT digest, kind, spec FROM old.definition ORDER BY digest;
    INSERT INTO resource (kind, name, definition, created, updated)
        SELECT o.kind, o.name, d.n, o.created, o.updated
        FROM old.resource o JOIN definition d ON d.digest = o.digest;
    INSERT INTO session (id, agent, created)
        SELECT id, agent, coalesce(CAST(round(unixepoch(created, 'subsec') * 1000) AS INTEGER), 0)
        FROM old.session ORDER BY id;
    INSERT INTO execution (id, kind, name, engine, definition, session, parent_task, key, phase, created, started, ended,
            attempt, cancel_requested, input_tokens, output_tokens, last_seq, lease, lease_worker, lease_n, ready)
        SELECT o.id, o.kind, o.name, 'local', d.n, o.session, o.parent_task, o.key, o.phase,
            CAST(round(unixepoch(o.state ->> 'created', 'subsec') * 1000) AS INTEGER),
            CAST(round(unixepoch(o.state ->> 'started', 'subsec') * 1000) AS INTEGER),
            CAST(round(unixepoch(o.state ->> 'ended', 'subsec') * 1000) AS INTEGER),
            o.state ->> 'attempt', o.state ->> 'cancel_requested',
            o.state ->> '$.usage.input_tokens', o.state ->> '$.usage.output_tokens',
            o.state ->> 'last_seq', o.lease, o.lease_worker, o.lease_n,
            CASE WHEN o.phase IN ('PENDING', 'IN_PROGRESS') AND o.lease IS NULL
                THEN CAST(round(unixepoch(o.state ->> 'created', 'subsec') * 1000) AS INTEGER) END
        FROM old.execution o CROSS JOIN definition d ON d.digest = o.digest ORDER BY o.id;
    INSERT INTO event (execution, seq, time, type, task, data)
        SELECT x.n, e.seq, CAST(round(unixepoch(e.time, 'subsec') * 1000) AS INTEGER), e.type, e.task, e.data
        FROM execution x CROSS JOIN old.event e ON e.execution = x.id ORDER BY x.n, e.seq;
    UPDATE execution SET parent = p.n
        FROM old.execution o CROSS JOIN execution p ON p.id = o.parent
        WHERE o.id = execution.id AND o.parent IS NOT NULL;
";

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Brings the database at `path` to [`VERSION`]; makes it if it is not there.
pub(super) fn prepare(path: &Path) -> Result<(), StoreError> {
    let wrap = |source| StoreError::Sqlite { path: path.to_owned(), source };
    recover(path)?;
    let mut connection = Connection::open(path).map_err(wrap)?;
    // It has an effect only before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(wrap)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(wrap)?;
    match found {
        0 => schema::create(&mut connection).map_err(wrap),
        1 => {
            drop(connection);
            from_version_1(path)
        }
        VERSION => Ok(()),
        found => Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION }),
    }
}

/// Completes or undoes a migration that was interrupted between its two renames.
fn recover(path: &Path) -> Result<(), StoreError> {
    let kept = beside(path, ".schema-1");
    // Both are there only between the renames. Without the new file, somebody has moved the database away to begin an empty one.
    if !path.exists() && kept.exists() && beside(path, ".new").exists() {
        fs_err::rename(kept, path)?;
    }
    Ok(())
}

/// Migrates the database at `path`, which has schema 1.
fn from_version_1(path: &Path) -> Result<(), StoreError> {
    let fresh = beside(path, ".new");
    let wrap = |source| StoreError::Migration { path: path.to_owned(), found: 1, source };
    for suffix in ["", "-journal", "-wal", "-shm"] {
        match fs_err::remove_file(beside(&fresh, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    settle(path).map_err(wrap)?;
    copy(path, &fresh).map_err(wrap)?;
    fs_err::OpenOptions::new().write(true).open(&fresh)?.sync_all()?;
    fs_err::rename(path, beside(path, ".schema-1"))?;
    fs_err::rename(&fresh, path)?;
    Ok(())
}

/// Moves what is in the write-ahead log of the old database into its file, so that the file alone is all of it.
fn settle(path: &Path) -> rusqlite::Result<()> {
    let old = Connection::open(path)?;
    old.pragma_update(None, "journal_mode", "DELETE")
}

/// Writes the new file, and gives how many steps of the database's virtual machine the copying took.
fn copy(path: &Path, fresh: &Path) -> rusqlite::Result<u64> {
    let mut connection = Connection::open(fresh)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Until it is renamed the new file means nothing, so nothing has to survive a crash, and it is synced once at the end.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    // Rows are copied before those they refer to; all of them are checked at the end.
    connection.pragma_update(None, "foreign_keys", false)?;
    // A path need not be UTF-8, and SQLite takes it as it is.
    let name = ToSqlOutput::Borrowed(ValueRef::Text(path.as_os_str().as_encoded_bytes()));
    connection.execute("ATTACH DATABASE ?1 AS old", [name])?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    let mut steps = 0;
    let mut batch = Batch::new(&transaction, COPY);
    while let Some(mut statement) = batch.next()? {
        statement.execute([])?;
        steps += u64::try_from(statement.get_status(StatementStatus::VmStep)).unwrap_or_default();
    }
    transaction.execute_batch(INDEXES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    connection.execute("DETACH DATABASE old", [])?;
    let check = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
    let broken: Option<String> = connection.query_row(check, [], |row| row.get(0)).optional()?;
    match broken {
        None => Ok(steps),
        Some(table) => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(format!("a row of `{table}` refers to a row that is not there")),
        )),
    }
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
