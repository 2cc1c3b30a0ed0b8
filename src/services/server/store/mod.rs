//! The database: `SQLite` in one file, written by one thread.
//!
//! One writer is what `SQLite` has anyway; that it is a thread of ours lets several requests share one commit, and a commit, which waits
//! for the disk, is what costs. An answer is given only after the commit that holds it, so what a client was told survives a
//! power cut (`synchronous=FULL`). Reading has a connection of its own and does not wait for the disk.

mod schema;
mod threads;

use super::refusal::Refusal;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use threads::{Reader, Writer};

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `SQLite` refuses.
    #[error("the database `{}` cannot be used", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// It was written by a later version.
    #[error("the database `{}` has schema {found}, and this version reads {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: u32,
        /// The latest one that is known here.
        known: u32,
    },
    /// The threads cannot be started.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The database. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    reader: Reader,
}

impl Store {
    /// Opens the database `path`, making it if it is not there.
    ///
    /// # Errors
    /// It is damaged, of a later version, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let wrap = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let mut writing = Connection::open(path).map_err(wrap)?;
        configure(&writing).map_err(wrap)?;
        if let Some(found) = schema::migrate(&mut writing).map_err(wrap)? {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        let reading = Connection::open(path).map_err(wrap)?;
        configure(&reading).map_err(wrap)?;
        reading.pragma_update(None, "query_only", true).map_err(wrap)?;
        Ok(Self { writer: Writer::start(writing)?, reader: Reader::start(reading)? })
    }

    /// Runs `work` in a transaction, and answers when it is on disk. A refusal undoes what `work` did, and nothing else.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.writer.run(work).await
    }

    /// Runs `work`, which only reads.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.reader.run(work).await
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // The journal mode is a property of the file; the others are of the connection.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn count(connection: &Connection) -> Result<i64, Refusal> {
        Ok(connection.query_row("SELECT count(*) FROM session", [], |row| row.get(0))?)
    }

    fn insert(connection: &Connection, id: &str) -> Result<(), Refusal> {
        connection.execute("INSERT INTO session (id, agent, created) VALUES (?1, 'a', 't')", [id])?;
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
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("999") && error.contains("x.db"), "{error}");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        std::fs::write(&path, "hello, I am a text file and no database at all\n".repeat(100)).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Sqlite { .. })));
    }
}
