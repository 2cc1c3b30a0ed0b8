//! The database: `SQLite` in one file, written by one thread.
//!
//! One writer is what `SQLite` has anyway; because it is a thread of the server, several requests share one commit, and a commit, which
//! waits for the disk, is the expensive part. An answer is given only after the commit that holds it, so what a client was told survives
//! a power cut (`synchronous=FULL`). Reads have connections of their own and do not wait for the disk; long reads have one apart, so that
//! a list or a large journal does not hold up a watcher.

mod migrate;
mod schema;
pub(super) mod statements;
mod threads;
mod tx;

use super::refusal::Refusal;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use threads::{Readers, Writer};
pub(super) use tx::Tx;

/// Connections for reads that touch a few rows.
const SHORT_READERS: usize = 2;

/// Connections for reads of lists and whole journals.
const LONG_READERS: usize = 1;

/// Page cache of the connection that writes, in KiB.
const WRITER_CACHE_KIB: i64 = 8 * 1024;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is damaged, or `SQLite` cannot open or write it.
    #[error("cannot use the database `{}`", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// The error of `SQLite`.
        source: rusqlite::Error,
    },
    /// A later version wrote the database.
    #[error("database `{}` has schema {found}: this version reads up to {known}", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The schema of the file.
        found: u32,
        /// The latest schema that this version reads.
        known: u32,
    },
    /// The database of an earlier version could not be migrated. It is unchanged.
    #[error("cannot migrate the database `{}` from schema {found}: it is left unchanged", path.display())]
    Migration {
        /// The database file.
        path: PathBuf,
        /// The schema of the file.
        found: u32,
        /// The error of `SQLite`.
        source: rusqlite::Error,
    },
    /// A file cannot be moved or a thread cannot be started.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    short: Readers,
    long: Readers,
}

impl Store {
    /// Opens the database at `path`, creating or migrating it first if necessary.
    ///
    /// # Errors
    /// It is damaged, of a later version, cannot be migrated, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let wrap = |source| StoreError::Sqlite { path: path.to_owned(), source };
        migrate::prepare(path)?;
        let writing = connect(path).map_err(wrap)?;
        writing.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(wrap)?;
        let readers = |count| {
            let connections = (0..count).map(|_| {
                let reading = connect(path)?;
                reading.pragma_update(None, "query_only", true)?;
                Ok(Tx::new(reading))
            });
            connections.collect::<rusqlite::Result<Vec<_>>>().map_err(wrap)
        };
        Ok(Self {
            writer: Writer::start(Tx::new(writing))?,
            short: Readers::start(readers(SHORT_READERS)?)?,
            long: Readers::start(readers(LONG_READERS)?)?,
        })
    }

    /// Runs `work` in a transaction, and answers when it is on disk. A refusal undoes what `work` did, and nothing else.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.writer.run(work).await
    }

    /// Runs `work`, which reads a few rows.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.short.run(work).await
    }

    /// Runs `work`, which may read many rows.
    pub async fn read_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.long.run(work).await
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // The journal mode is a property of the file; the others are of the connection.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What a savepoint may have to undo is kept in memory.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

#[cfg(test)]
mod plans;

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn count(tx: &Tx) -> Result<i64, Refusal> {
        Ok(tx.raw().query_row("SELECT count(*) FROM session", [], |row| row.get(0))?)
    }

    fn insert(tx: &Tx, id: &str) -> Result<(), Refusal> {
        tx.execute(statements::SESSION_INSERT, (id, "a", 0))?;
        Ok(())
    }

    #[test]
    fn what_is_written_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        runtime().block_on(async {
            let store = Store::open(&path).unwrap();
            store.write(|tx| insert(tx, "one")).await.unwrap();
            drop(store);
            let store = Store::open(&path).unwrap();
            assert_eq!(store.read(count).await.unwrap(), 1);
            assert!(store.read(|tx| insert(tx, "two")).await.is_err(), "the reader does not write");
        });
    }

    #[test]
    fn a_refusal_undoes_its_own_work_only() {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let store = Store::open(&dir.path().join("x.db")).unwrap();
            let all = (0..20).map(|n| {
                let store = store.clone();
                async move {
                    store
                        .write(move |tx| {
                            insert(tx, &format!("s{n}"))?;
                            if n % 2 == 0 { Ok(()) } else { Err(Refusal::conflict("no")) }
                        })
                        .await
                }
            });
            let outcomes = futures_util::future::join_all(all).await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
            assert_eq!(store.read(count).await.unwrap(), 10);
        });
    }

    #[test]
    fn a_panic_in_one_request_is_not_the_end_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let store = Store::open(&dir.path().join("x.db")).unwrap();
            let outcome: Result<(), Refusal> = store
                .write(|tx| {
                    insert(tx, "half")?;
                    panic!("a defect")
                })
                .await;
            assert!(outcome.is_err());
            store.write(|tx| insert(tx, "whole")).await.unwrap();
            assert_eq!(store.read(count).await.unwrap(), 1);
        });
    }

    #[test]
    fn a_later_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 999, known: 2, .. }), "{error}");
        let error = crate::services::ServiceError::from(error);
        let (text, hint) = (error.to_string(), error.hint().unwrap());
        assert!(text.contains("999") && text.contains("x.db"), "{text}");
        assert!(hint.contains("stigmer self-update"), "{hint}");
        let version: u32 = Connection::open(&path)
            .unwrap()
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, 999, "it is left as it is");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        std::fs::write(&path, "hello, I am a text file and no database at all\n".repeat(100)).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Sqlite { .. })));
    }
}
