//! Random histories: whatever happens in whatever order, the journal has no gaps, the sum is the sum, and the end is the end.

mod deletion;
mod listing;
mod suspension;

use super::*;
use crate::resource::{API_VERSION, Metadata, Resource};
use crate::services::server::refusal::Refusal;
use crate::services::server::store::Tx;
use crate::services::server::{Store, resources};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use stigmer_protocol::Json;
use stigmer_protocol::api::events::ReportedEvent;
use stigmer_protocol::api::leases::{HistoryMessage, Role};

#[derive(Debug, Clone)]
enum Step {
    Create { agent: bool, key: Option<u8> },
    Lease { kinds: Vec<Kind> },
    Report { lease: usize, events: u64, from: u64 },
    End { lease: usize, outcome: u8 },
    Child { lease: usize, task: u8 },
    Cancel { execution: usize },
    Expire { lease: usize },
    Suspend { lease: usize, until: Until },
    Wake,
    Resume { execution: usize },
    Delete { execution: usize },
    Prune { keep: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop_oneof![
        Just(vec![Kind::Agent]),
        Just(vec![Kind::Workflow]),
        Just(vec![Kind::Agent, Kind::Workflow]),
    ];
    prop_oneof![
        3 => (any::<bool>(), prop::option::of(0..3_u8)).prop_map(|(agent, key)| Step::Create { agent, key }),
        4 => kinds.prop_map(|kinds| Step::Lease { kinds }),
        3 => (any::<usize>(), 1..4_u64, 0..2_u64).prop_map(|(lease, events, from)| Step::Report { lease, events, from }),
        2 => (any::<usize>(), 0..3_u8).prop_map(|(lease, outcome)| Step::End { lease, outcome }),
        2 => (any::<usize>(), 0..2_u8).prop_map(|(lease, task)| Step::Child { lease, task }),
        1 => any::<usize>().prop_map(|execution| Step::Cancel { execution }),
        1 => any::<usize>().prop_map(|lease| Step::Expire { lease }),
        2 => (any::<usize>(), prop::option::of(0..2_u64), any::<bool>()).prop_map(|(lease, wake, on_children)| {
            // The beginning of all time, or the end.
            let wake_at_ms = wake.map(|is_far| is_far * u64::MAX);
            Step::Suspend { lease, until: Until { wake_at_ms, on_children } }
        }),
        1 => Just(Step::Wake),
        1 => any::<usize>().prop_map(|execution| Step::Resume { execution }),
        1 => any::<usize>().prop_map(|execution| Step::Delete { execution }),
        1 => (0..3_u32).prop_map(|keep| Step::Prune { keep }),
    ]
}

/// What the test itself knows.
#[derive(Default)]
struct Known {
    executions: Vec<ExecutionId>,
    leases: Vec<(LeaseId, u64)>,
    phases: HashMap<ExecutionId, Phase>,
}

fn reported(n: u64, kind: &str, data: &Value) -> ReportedEvent {
    ReportedEvent { n, kind: kind.to_owned(), task: None, data: Json::of(data).expect("JSON") }
}

fn reports(events: Vec<ReportedEvent>, outcome: Option<Outcome>) -> Report {
    Report::new(events, outcome).expect("a valid report")
}

fn apply(tx: &Tx, kind: Kind, name: &str) -> Result<(), Refusal> {
    let spec = match kind {
        Kind::Agent => json!({}),
        Kind::Workflow => json!({"document": {}, "do": []}),
    };
    let metadata = Metadata { name: name.to_owned() };
    resources::put(tx, &Resource { api_version: API_VERSION.to_owned(), kind, metadata, spec }).map(drop)
}

fn take(tx: &Tx, known: &mut Known, step: Step) -> Result<(), Refusal> {
    let at = |place: usize, count: usize| (count > 0).then(|| place % count);
    match step {
        Step::Create { agent, key } => {
            let new = NewExecution {
                name: if agent { "a" } else { "w" }.to_owned(),
                message: agent.then(|| "hi".to_owned()),
                key: key.map(|key| format!("{agent}{key}")),
                ..NewExecution::default()
            };
            known.executions.push(create(tx, &new)?.0.id);
        }
        Step::Lease { kinds } => {
            if let Some(leased) = lease(tx, &"w-1".into(), &kinds, 1, 1)?.pop() {
                assert!(kinds.contains(&leased.execution.kind));
                assert_eq!(leased.execution.phase, Phase::InProgress);
                known.leases.push((leased.lease, 0));
            } else {
                assert!(!is_there_work(tx, &kinds)?);
            }
        }
        Step::Report { lease, events, from } => {
            let Some(place) = at(lease, known.leases.len()) else { return Ok(()) };
            let (lease, last) = known.leases[place].clone();
            // Some of it may have been sent before.
            let first = last.saturating_sub(from) + 1;
            let events = (first..first + events)
                .map(|n| reported(n, "note", &json!({"text": n.to_string()})))
                .collect();
            known.leases[place].1 = report(tx, &lease, reports(events, None))?.last_n;
        }
        Step::End { lease, outcome } => {
            let Some(place) = at(lease, known.leases.len()) else { return Ok(()) };
            let outcome = match outcome {
                0 => Outcome::Completed(json!({"text": "done"})),
                1 => Outcome::Failed(ExecutionError {
                    kind: "x".into(),
                    message: "y".into(),
                    hint: None,
                    task: None,
                }),
                _ => Outcome::Cancelled,
            };
            report(tx, &known.leases[place].0, reports(Vec::new(), Some(outcome)))?;
        }
        Step::Child { lease, task } => {
            let Some(place) = at(lease, known.leases.len()) else { return Ok(()) };
            let parent = holder(tx, &known.leases[place].0)?;
            let new = NewExecution {
                name: "a".to_owned(),
                message: Some("child".to_owned()),
                parent: Some((parent, format!("/do/{task}"))),
                ..NewExecution::default()
            };
            known.executions.push(create(tx, &new)?.0.id);
        }
        Step::Cancel { execution } => {
            let Some(place) = at(execution, known.executions.len()) else { return Ok(()) };
            cancel(tx, &known.executions[place])?;
        }
        Step::Expire { lease } => {
            let Some(place) = at(lease, known.leases.len()) else { return Ok(()) };
            expire(tx, &known.leases[place].0, false)?;
        }
        Step::Suspend { lease, until } => {
            let Some(place) = at(lease, known.leases.len()) else { return Ok(()) };
            suspend(tx, &known.leases[place].0, reports(Vec::new(), None), until)?;
        }
        Step::Wake => drop(wake(tx)?),
        Step::Resume { execution } => {
            let Some(place) = at(execution, known.executions.len()) else { return Ok(()) };
            known.executions.push(resume(tx, &known.executions[place])?.0.id);
        }
        Step::Delete { execution } => {
            let Some(place) = at(execution, known.executions.len()) else { return Ok(()) };
            assert!(delete(tx, &known.executions[place])?, "it is no more than belongs in a transaction");
            assert!(find(tx, &known.executions[place]).is_err());
        }
        Step::Prune { keep } => {
            let Some(boundary) = boundary(tx, i64::MAX, keep)? else { return Ok(()) };
            let would = prune(tx, Place::START, boundary, true)?;
            let batch = prune(tx, Place::START, boundary, false)?;
            assert_eq!((&would.executions, would.events), (&batch.executions, batch.events));
            assert!(batch.next.is_none() && batch.executions.iter().all(|id| find(tx, id).is_err()));
        }
    }
    Ok(())
}

fn check(tx: &Tx, known: &mut Known) -> Result<(), Refusal> {
    for execution in list(tx, Which::default(), u32::MAX)? {
        let events = events_after(tx, &execution.id, 0, u32::MAX)?;
        let places: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(places, (1..=events.len() as u64).collect::<Vec<_>>(), "no gaps");
        let events: Vec<JournalEvent> =
            events.into_iter().map(|event| event.try_into().expect("JSON")).collect();
        let mut sum = Execution::begin(&execution.id, &events[0]).expect("it begins with `created`");
        for event in &events[1..] {
            assert!(!sum.phase.is_terminal(), "nothing comes after the end: {events:?}");
            sum.apply(event);
        }
        assert_eq!(sum, execution, "the row is the sum of the events");
        let rank = |phase: Phase| match phase {
            Phase::Pending => 0,
            Phase::InProgress => 1,
            Phase::Completed | Phase::Failed | Phase::Cancelled => 2,
        };
        let before = known.phases.insert(execution.id.clone(), execution.phase);
        if let Some(before) = before {
            assert!(rank(before) <= rank(execution.phase), "a phase only moves on");
            assert!(!before.is_terminal() || before == execution.phase, "the end is final");
        }
        if let Some(parent) = &execution.parent {
            let is_over = find(tx, parent)?.phase.is_terminal();
            assert!(
                !is_over || execution.phase.is_terminal() || execution.cancel_requested,
                "who was called ends with the caller"
            );
        }
    }
    // Deletion leaves no parts behind.
    let parts: u32 = tx.raw().query_row(
        "SELECT (SELECT count(*) FROM event WHERE execution NOT IN (SELECT n FROM execution))
              + (SELECT count(*) FROM session WHERE id NOT IN (SELECT session FROM execution WHERE session IS NOT NULL))
              + (SELECT count(*) FROM pragma_foreign_key_check)
              + (SELECT count(*) FROM workspace_removal WHERE id IN (SELECT id FROM execution))",
        [],
        |row| row.get(0),
    )?;
    assert_eq!(parts, 0);
    // Nothing that is open is forgotten: each is held, can be taken, or waits for something that can still happen.
    let forgotten: Vec<String> = tx
        .raw()
        .prepare(
            "SELECT id FROM execution x WHERE ended IS NULL AND lease IS NULL AND ready IS NULL AND wake_at IS NULL
             AND NOT wakes_on_children",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    assert_eq!(forgotten, Vec::<String>::new());
    let over: u32 = tx.raw().query_row(
        "SELECT count(*) FROM execution WHERE ended IS NOT NULL
         AND (lease IS NOT NULL OR ready IS NOT NULL OR wake_at IS NOT NULL OR wakes_on_children)",
        [],
        |row| row.get(0),
    )?;
    assert_eq!(over, 0, "what has ended waits for nothing");
    // In one session one thing happens at a time.
    let busiest: u32 = tx.raw().query_row(
        "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM execution
         WHERE phase IN ('PENDING', 'IN_PROGRESS') AND session IS NOT NULL GROUP BY session)",
        [],
        |row| row.get(0),
    )?;
    assert!(busiest <= 1);
    Ok(())
}

fn take_one(tx: &Tx, worker: &str, kind: Kind) -> Option<Leased> {
    lease(tx, &worker.into(), &[kind], 1, 1).unwrap().pop()
}

fn workflow_run(tx: &Tx) -> ExecutionId {
    create(tx, &NewExecution { name: "w".to_owned(), ..NewExecution::default() }).unwrap().0.id
}

fn with_store<T: Send + 'static>(work: impl FnOnce(&Tx) -> T + Send + 'static) -> T {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&dir.path().join("x.db")).expect("opens");
        store
            .write(move |tx| {
                apply(tx, Kind::Agent, "a")?;
                apply(tx, Kind::Workflow, "w")?;
                Ok(work(tx))
            })
            .await
            .expect("no refusal")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_history_keeps_the_rules(steps in prop::collection::vec(step(), 1..40)) {
        with_store(move |tx| {
            let mut known = Known::default();
            for step in steps {
                tx.raw().execute_batch("SAVEPOINT step").expect("begins");
                // A refusal is an answer too, and changes nothing.
                if take(tx, &mut known, step).is_err() {
                    tx.raw().execute_batch("ROLLBACK TO step").expect("undone");
                }
                tx.raw().execute_batch("RELEASE step").expect("kept");
                check(tx, &mut known).expect("readable");
            }
        });
    }
}

fn agent_run(tx: &Tx, session: Option<SessionId>) -> Result<Execution, Refusal> {
    let new = NewExecution {
        name: "a".to_owned(),
        message: Some("hi".to_owned()),
        input: Value::Null,
        session,
        ..NewExecution::default()
    };
    create(tx, &new).map(|(execution, _)| execution)
}

#[test]
fn what_an_agent_was_doing_is_not_done_again_unless_asked() {
    with_store(|tx| {
        let execution = agent_run(tx, None).unwrap();
        let leased = take_one(tx, "w-1", Kind::Agent).unwrap();
        expire(tx, &leased.lease, false).unwrap();
        let lost = find(tx, &execution.id).unwrap();
        assert_eq!((lost.phase, lost.error.unwrap().kind.as_str()), (Phase::Failed, INTERRUPTED));
        assert!(take_one(tx, "w-2", Kind::Agent).is_none());
        assert!(report(tx, &leased.lease, reports(Vec::new(), None)).is_err());
        let (again, is_new) = resume(tx, &execution.id).unwrap();
        assert!(is_new && again.session == execution.session && again.resumes == Some(execution.id.clone()));
        assert!(!resume(tx, &execution.id).unwrap().1, "asked twice, it is resumed once");
    });
}

#[test]
fn a_workflow_goes_on_with_another_worker_but_not_for_ever() {
    with_store(|tx| {
        let new = NewExecution { name: "w".to_owned(), ..NewExecution::default() };
        let id = create(tx, &new).unwrap().0.id;
        for attempt in 1..=5 {
            let leased = take_one(tx, "w", Kind::Workflow).unwrap();
            assert_eq!(leased.execution.attempt, attempt);
            assert_eq!(leased.events.len() as u64, leased.execution.last_seq - 1);
            expire(tx, &leased.lease, false).unwrap();
        }
        assert_eq!(find(tx, &id).unwrap().phase, Phase::Failed);
    });
}

#[test]
fn a_workflow_that_gets_somewhere_or_is_given_back_survives_any_number_of_workers() {
    with_store(|tx| {
        let new = NewExecution { name: "w".to_owned(), ..NewExecution::default() };
        let id = create(tx, &new).unwrap().0.id;
        for attempt in 1..=20 {
            let leased = take_one(tx, "w", Kind::Workflow).unwrap();
            let is_given_back = attempt % 2 == 0;
            if attempt % 4 == 1 {
                let event = reported(1, "effect", &json!({}));
                report(tx, &leased.lease, reports(vec![event], None)).unwrap();
            }
            expire(tx, &leased.lease, is_given_back).unwrap();
        }
        assert_eq!(find(tx, &id).unwrap().phase, Phase::InProgress);
    });
}

#[test]
fn a_session_remembers_what_was_said_and_is_used_by_one_at_a_time() {
    with_store(|tx| {
        let first = agent_run(tx, None).unwrap();
        assert!(agent_run(tx, first.session.clone()).is_err(), "it is busy");
        let leased = take_one(tx, "w", Kind::Agent).unwrap();
        assert_eq!(leased.history, []);
        let outcome = Some(Outcome::Completed(json!({"text": "hello"})));
        report(tx, &leased.lease, reports(Vec::new(), outcome)).unwrap();
        agent_run(tx, first.session.clone()).unwrap();
        let leased = take_one(tx, "w", Kind::Agent).unwrap();
        let message = |role, text: &str| HistoryMessage { role, text: Some(text.to_owned()) };
        let said = [message(Role::User, "hi"), message(Role::Assistant, "hello")];
        assert_eq!(leased.history, said);
        // Of a long one, the newest exchanges are told, each whole or not at all.
        let mut leased = leased;
        for letter in ["x", "y", "z"] {
            let outcome = Some(Outcome::Completed(json!({"text": letter.repeat(400_000)})));
            report(tx, &leased.lease, reports(Vec::new(), outcome)).unwrap();
            agent_run(tx, first.session.clone()).unwrap();
            leased = take_one(tx, "w", Kind::Agent).unwrap();
        }
        let begin = |message: &HistoryMessage| message.text.as_ref().unwrap()[..1].to_owned();
        assert_eq!(leased.history.iter().map(begin).collect::<Vec<_>>(), ["h", "y", "h", "z"]);
    });
}

#[test]
fn an_execution_keeps_the_definition_it_began_with() {
    with_store(|tx| {
        let before = agent_run(tx, None).unwrap();
        let metadata = Metadata { name: "a".to_owned() };
        let spec = json!({"instructions": "other"});
        let (api_version, kind) = (API_VERSION.to_owned(), Kind::Agent);
        resources::put(tx, &Resource { api_version, kind, metadata, spec }).unwrap();
        assert_ne!(agent_run(tx, None).unwrap().digest, before.digest);
        resources::delete(tx, Kind::Agent, "a").unwrap();
        let leased = take_one(tx, "w", Kind::Agent).unwrap();
        assert_eq!((leased.execution.id, leased.definition), (before.id, json!({})));
    });
}
