//! The connection as the rest of the server sees it: it runs the statements of [`super::statements`] and no others.

use super::statements::Statement;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

/// How many prepared statements a connection keeps: all there are.
const KEPT_STATEMENTS: usize = 128;

/// A connection to the database, inside of a transaction if it is the one that writes.
#[derive(Debug)]
pub struct Tx(Connection);

impl Tx {
    pub(super) fn new(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
        Self(connection)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    /// The connection itself, for tests that look at the database behind the server's back.
    #[cfg(test)]
    pub(in crate::services::server) fn raw(&self) -> &Connection {
        &self.0
    }

    /// Prepares a statement, or takes the prepared one.
    pub(in crate::services::server) fn prepare(
        &self,
        statement: Statement,
    ) -> rusqlite::Result<CachedStatement<'_>> {
        self.0.prepare_cached(statement.sql())
    }

    /// Runs a statement that changes rows, and gives how many.
    pub(in crate::services::server) fn execute(
        &self,
        statement: Statement,
        with: impl Params,
    ) -> rusqlite::Result<usize> {
        self.prepare(statement)?.execute(with)
    }

    /// The first row that a statement finds.
    pub(in crate::services::server) fn first<T>(
        &self,
        statement: Statement,
        with: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.prepare(statement)?.query_row(with, read).optional()
    }

    /// All rows that a statement finds.
    pub(in crate::services::server) fn all<T>(
        &self,
        statement: Statement,
        with: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.prepare(statement)?.query_map(with, read)?.collect()
    }

    /// The key of the row that was inserted last.
    pub(in crate::services::server) fn inserted(&self) -> i64 {
        self.0.last_insert_rowid()
    }
}
