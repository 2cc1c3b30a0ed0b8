//! The order in which executions are leased and listed.

use super::*;

#[test]
fn several_are_leased_at_once_and_the_longest_ready_first() {
    with_store(|tx| {
        let ids: Vec<ExecutionId> = (0..5).map(|_| workflow_run(tx)).collect();
        let agent = agent_run(tx, None).unwrap();
        let both = [Kind::Workflow, Kind::Agent];
        // Within a millisecond the order of creation decides.
        tx.raw().execute("UPDATE execution SET ready = 7", []).unwrap();
        let leased = lease(tx, &"w".into(), &both, 1, 3).unwrap();
        let given = |leased: Vec<Leased>| leased.into_iter().map(|one| one.execution.id).collect::<Vec<_>>();
        assert_eq!(given(leased), ids[..3]);
        let rest = given(lease(tx, &"w".into(), &both, 1, 10).unwrap());
        assert_eq!(rest, [&ids[3..], std::slice::from_ref(&agent.id)].concat());
        assert!(lease(tx, &"w".into(), &both, 1, 10).unwrap().is_empty());
    });
}

#[test]
fn lists_are_pages_of_what_matches_newest_first() {
    with_store(|tx| {
        let mut all = Vec::new();
        for n in 0..12 {
            let id = if n % 3 == 0 { agent_run(tx, None).unwrap().id } else { workflow_run(tx) };
            if n % 4 == 0 {
                cancel(tx, &id).unwrap();
            }
            all.insert(0, find(tx, &id).unwrap());
        }
        let filters = [None, Some(Kind::Agent), Some(Kind::Workflow)]
            .into_iter()
            .flat_map(|kind| [None, Some(Phase::Pending), Some(Phase::Cancelled)].map(|phase| (kind, phase)))
            .flat_map(|(kind, phase)| {
                [None, Some("a"), Some("w"), Some("x")].map(|name| (kind, phase, name))
            });
        for (kind, phase, name) in filters {
            let matches = |one: &&Execution| {
                kind.is_none_or(|kind| one.kind == kind)
                    && phase.is_none_or(|phase| one.phase == phase)
                    && name.is_none_or(|name| one.name == name)
            };
            let expected: Vec<&str> = all.iter().filter(matches).map(|one| one.id.as_str()).collect();
            let mut found: Vec<ExecutionId> = Vec::new();
            loop {
                let before = found.last().cloned();
                let which = Which { kind, phase, name, before: before.as_deref() };
                let page = list(tx, which, 2).unwrap();
                if page.is_empty() {
                    break;
                }
                found.extend(page.into_iter().map(|one| one.id));
            }
            assert_eq!(found, expected, "{kind:?} {phase:?} {name:?}");
        }
        let beyond = Which { before: Some("zzzz"), ..Which::default() };
        assert_eq!(list(tx, beyond, 100).unwrap().len(), 12, "an unknown id is a place in time");
    });
}
