//! The query plan of every statement: cost does not grow with history.

use super::statements::ALL;
use super::{Store, connect};
use std::path::Path;

fn database(dir: &Path) -> rusqlite::Connection {
    let path = dir.join("x.db");
    drop(Store::open(&path).expect("opens"));
    connect(&path).expect("opens")
}

/// The steps of a statement's plan.
fn plan(connection: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    let with = vec![rusqlite::types::Null; statement.parameter_count()];
    let rows = statement.query_map(rusqlite::params_from_iter(with), |row| row.get(3)).expect(sql);
    rows.collect::<Result<_, _>>().expect(sql)
}

#[test]
fn no_statement_scans_a_table_or_sorts() {
    let dir = tempfile::tempdir().expect("a directory");
    let connection = database(dir.path());
    let mut bad = Vec::new();
    for (name, is_whole, statement) in ALL {
        let steps = plan(&connection, statement.sql());
        // Only what begins a transaction and what inserts given values looks for nothing.
        let looks = ["SELECT", "UPDATE", "DELETE"].iter().any(|verb| statement.sql().starts_with(verb));
        assert!(!looks || !steps.is_empty(), "{name} has no plan");
        let scans = |step: &String| step.starts_with("SCAN") && !step.contains("pragma_") && !is_whole;
        if steps.iter().any(|step| scans(step) || step.contains("TEMP B-TREE")) {
            bad.push((name, steps));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn statements_of_open_executions_use_the_indexes_that_hold_only_those() {
    let dir = tempfile::tempdir().expect("a directory");
    let connection = database(dir.path());
    let mut bad = Vec::new();
    for (wanted, index) in [
        ("IS_LEASABLE", "execution_ready"),
        ("LEASABLE", "execution_ready"),
        ("LEASES", "execution_lease"),
        ("ROW_BY_LEASE", "execution_lease"),
        ("NEXT_WAKE", "execution_wake"),
        ("WAKE", "execution_wake"),
        ("OPEN_CHILDREN", "execution_open_children"),
        ("SESSION_NEWEST", "execution_session"),
        ("CHILDREN", "execution_task"),
        ("ENDED", "COVERING INDEX execution_ended"),
        ("ENDED_BEYOND", "COVERING INDEX execution_ended"),
        ("PAGE_OF_KIND", "COVERING INDEX execution_kind"),
        ("PAGE_OF_NAME", "COVERING INDEX execution_name"),
    ] {
        let (_, _, statement) = ALL.iter().find(|(name, ..)| *name == wanted).expect(wanted);
        let steps = plan(&connection, statement.sql());
        if !steps.iter().any(|step| step.contains(index)) {
            bad.push((wanted, steps));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A plan that is not what it should be is noticed.
#[test]
fn a_scan_and_a_sort_are_seen_in_a_plan() {
    let dir = tempfile::tempdir().expect("a directory");
    let connection = database(dir.path());
    let scan = plan(&connection, "SELECT n FROM execution WHERE engine = 'local'");
    assert!(scan[0].starts_with("SCAN"), "{scan:?}");
    let sort = plan(&connection, "SELECT n FROM execution WHERE kind = 'agent' ORDER BY engine");
    assert!(sort.iter().any(|step| step.contains("TEMP B-TREE")), "{sort:?}");
}
