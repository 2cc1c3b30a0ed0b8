//! Every statement that the server runs, by name.
//!
//! A [`Tx`](super::Tx) runs these and no others, and a test asserts the query plan of each: none scans a table or sorts, whatever the
//! size of the history. A list that is a table's whole content is marked `whole` and exempt.

/// A statement of this module; there are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::services::server) struct Statement(&'static str);

impl Statement {
    /// Its SQL.
    pub(super) fn sql(self) -> &'static str {
        self.0
    }
}

macro_rules! statements {
    ($($name:ident $($mark:ident)?: $sql:expr;)*) => {
        $(pub(in crate::services::server) const $name: Statement = Statement($sql);)*

        /// All statements: their names, whether they give a table's whole content, and themselves.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, bool, Statement)] =
            &[$((stringify!($name), statements!(@is_whole $($mark)?), $name)),*];
    };
    (@is_whole whole) => { true };
    (@is_whole) => { false };
}

/// The columns of a row of `execution` that change what may be done with it.
macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT n, id, kind, phase, attempt, cancel_requested, input_tokens, output_tokens, last_seq, parent, session,
                definition, lease, lease_n, child_ended FROM execution ",
            $rest
        )
    };
}

/// Everything that is shown of an execution: its row, and the data of its first and, if it has ended, its last event.
macro_rules! executions {
    ($rest:literal) => {
        concat!(
            "SELECT x.id, x.phase, x.attempt, x.cancel_requested, x.input_tokens, x.output_tokens, x.created, x.started,
                x.ended, x.last_seq, x.wake_at,
                x.wakes_on_children, begun.data, done.data
             FROM execution x
             CROSS JOIN event begun ON begun.execution = x.n AND begun.seq = 1
             LEFT JOIN event done ON done.execution = x.n AND done.seq = x.last_seq AND x.ended IS NOT NULL ",
            $rest
        )
    };
}

macro_rules! resources {
    ($rest:literal) => {
        concat!(
            "SELECT r.kind, r.name, d.digest, r.created, r.updated, d.spec FROM resource r
             CROSS JOIN definition d ON d.n = r.definition ",
            $rest
        )
    };
}

statements! {
    BEGIN: "BEGIN IMMEDIATE";
    COMMIT: "COMMIT";
    ROLLBACK: "ROLLBACK";
    SAVEPOINT: "SAVEPOINT request";
    SAVEPOINT_UNDO: "ROLLBACK TO request";
    SAVEPOINT_RELEASE: "RELEASE request";

    DEFINITION_INSERT:
        "INSERT INTO definition (digest, kind, spec) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING";
    DEFINITION_SPEC: "SELECT spec FROM definition WHERE n = ?1";
    DEFINITION_FORGET:
        "DELETE FROM definition WHERE n = ?1
         AND NOT EXISTS (SELECT 1 FROM resource WHERE definition = ?1)
         AND NOT EXISTS (SELECT 1 FROM execution WHERE definition = ?1)";
    RESOURCE_DEFINITION:
        "SELECT d.n, d.digest FROM resource r CROSS JOIN definition d ON d.n = r.definition
         WHERE r.kind = ?1 AND r.name = ?2";
    RESOURCE_PUT:
        "INSERT INTO resource (kind, name, definition, created, updated)
         VALUES (?1, ?2, (SELECT n FROM definition WHERE digest = ?3), ?4, ?4)
         ON CONFLICT (kind, name) DO UPDATE SET definition = excluded.definition, updated = excluded.updated";
    RESOURCE_DELETE: "DELETE FROM resource WHERE kind = ?1 AND name = ?2";
    RESOURCE_FIND: resources!("WHERE r.kind = ?1 AND r.name = ?2");
    RESOURCES whole: resources!("ORDER BY r.kind, r.name");
    RESOURCES_OF_KIND: resources!("WHERE r.kind = ?1 ORDER BY r.name");

    SESSION_INSERT: "INSERT INTO session (id, agent, created) VALUES (?1, ?2, ?3)";
    SESSION_AGENT: "SELECT agent FROM session WHERE id = ?1";
    SESSION_NEWEST: "SELECT id, ended, n FROM execution WHERE session = ?1 ORDER BY n DESC LIMIT 1";
    SESSION_HISTORY:
        "SELECT begun.data, done.data FROM execution x
         CROSS JOIN event begun ON begun.execution = x.n AND begun.seq = 1
         CROSS JOIN event done ON done.execution = x.n AND done.seq = x.last_seq
         WHERE x.session = ?1 AND x.n < ?2 AND x.phase = 'COMPLETED' ORDER BY x.n DESC";

    EXECUTION_INSERT:
        "INSERT INTO execution
         (id, kind, name, engine, definition, session, parent, parent_task, key, phase, created, last_seq, ready)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'PENDING', ?10, 1, ?10)";
    EVENT_INSERT: "INSERT INTO event (execution, seq, time, type, task, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

    EXECUTION: executions!("WHERE x.id = ?1");
    EXECUTION_BY_N: executions!("WHERE x.n = ?1");
    EXECUTION_BY_KEY: executions!("WHERE x.key = ?1");
    EXECUTION_BY_TASK: executions!("WHERE x.parent = ?1 AND x.parent_task = ?2");
    ROW: rows!("WHERE id = ?1");
    ROW_BY_N: rows!("WHERE n = ?1");
    ROW_BY_LEASE: rows!("WHERE lease = ?1");
    PROGRESS: "SELECT phase, last_seq FROM execution WHERE id = ?1";
    EVENTS_AFTER:
        "SELECT seq, time, type, task, data FROM event
         WHERE execution = (SELECT n FROM execution WHERE id = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3";
    EVENTS: "SELECT seq, time, type, task, data FROM event WHERE execution = ?1 ORDER BY seq";
    EVENTS_NEWEST: "SELECT type, time, data FROM event WHERE execution = ?1 ORDER BY seq DESC LIMIT 100";

    PAGE_CURSOR: "SELECT n FROM execution WHERE id >= ?1 ORDER BY id LIMIT 1";
    PAGE: "SELECT n FROM execution WHERE n < ?1 ORDER BY n DESC LIMIT ?2";
    PAGE_OF_KIND: "SELECT n FROM execution WHERE kind = ?1 AND phase = ?2 AND n < ?3 ORDER BY n DESC LIMIT ?4";
    PAGE_OF_NAME:
        "SELECT n FROM execution WHERE name = ?1 AND kind = ?2 AND phase = ?3 AND n < ?4 ORDER BY n DESC LIMIT ?5";

    IS_LEASABLE: "SELECT 1 FROM execution WHERE kind = ?1 AND ready > 0 LIMIT 1";
    LEASABLE: "SELECT n, ready FROM execution WHERE kind = ?1 AND ready > 0 ORDER BY ready, n LIMIT ?2";
    LEASES: "SELECT lease, lease_worker, id, lease_n, cancel_requested FROM execution WHERE lease > ''";
    LEASE_GRANT:
        "UPDATE execution SET phase = 'IN_PROGRESS', attempt = ?2, started = coalesce(started, ?3), last_seq = ?4,
         lease = ?5, lease_worker = ?6, lease_n = 0, ready = NULL, wake_at = NULL, wakes_on_children = 0, child_ended = 0
         WHERE n = ?1";
    ADVANCE:
        "UPDATE execution SET last_seq = ?2, lease_n = ?3, input_tokens = ?4, output_tokens = ?5 WHERE n = ?1";
    REQUEST_CANCEL: "UPDATE execution SET cancel_requested = 1, last_seq = ?2 WHERE n = ?1";
    LEASE_RETURN:
        "UPDATE execution SET lease = NULL, lease_worker = NULL, last_seq = ?2, ready = ?3 WHERE n = ?1";
    SUSPEND:
        "UPDATE execution SET lease = NULL, lease_worker = NULL, last_seq = ?2, input_tokens = ?3, output_tokens = ?4,
         wake_at = ?5, wakes_on_children = ?6, ready = ?7 WHERE n = ?1";
    END:
        "UPDATE execution SET phase = ?2, ended = ?3, last_seq = ?4, input_tokens = ?5, output_tokens = ?6,
         lease = NULL, lease_worker = NULL, ready = NULL, wake_at = NULL, wakes_on_children = 0 WHERE n = ?1";
    CHILD_ENDED:
        "UPDATE execution SET child_ended = 1, ready = CASE WHEN wakes_on_children THEN coalesce(ready, ?2) ELSE ready END
         WHERE n = ?1 AND ended IS NULL";
    OPEN_CHILDREN: "SELECT n FROM execution WHERE parent = ?1 AND ended IS NULL";
    NEXT_WAKE:
        "SELECT wake_at FROM execution WHERE wake_at > 0 AND ready IS NULL ORDER BY wake_at LIMIT 1";
    WAKE:
        "UPDATE execution SET ready = ?1 WHERE n IN
         (SELECT n FROM execution WHERE wake_at > 0 AND wake_at <= ?1 AND ready IS NULL ORDER BY wake_at LIMIT ?2)";

    CHILDREN: "SELECT n FROM execution WHERE parent = ?1";
    ENDED:
        "SELECT ended, n FROM execution
         WHERE parent IS NULL AND ended >= ?1 AND (ended, n) > (?1, ?2) ORDER BY ended, n LIMIT ?3";
    ENDED_BEYOND:
        "SELECT ended, n FROM execution WHERE parent IS NULL AND ended IS NOT NULL
         ORDER BY ended DESC, n DESC LIMIT 1 OFFSET ?1";
    EVENTS_DELETE: "DELETE FROM event WHERE execution = ?1";
    EXECUTION_DELETE: "DELETE FROM execution WHERE n = ?1";
    SESSION_FORGET:
        "DELETE FROM session WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM execution WHERE session = ?1)";
    REMOVAL_INSERT: "INSERT INTO workspace_removal (id) VALUES (?1) ON CONFLICT DO NOTHING";
    REMOVALS: "SELECT id FROM workspace_removal WHERE id > ?1 ORDER BY id LIMIT ?2";
    REMOVAL_DONE: "DELETE FROM workspace_removal WHERE id = ?1";
    SHRINK: "PRAGMA incremental_vacuum(500)";
}
