//! Process ids that are used again: who has one now is not who had it, and is never signalled.
#![expect(clippy::print_stderr, reason = "a test that cannot run says so")]

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Child, Command};
use stigmer_test_support::namespace::{PROCESSES, inside};
use stigmer_test_support::server::{GOOD, LIMIT, Platform, pid, signal, text};
use stigmer_test_support::test_name;

/// Where the last process id that was given away can be set, in a namespace of one's own.
const LAST: &str = "/proc/sys/kernel/ns_last_pid";

/// A process that has nothing to do with the platform and has this id.
fn stranger(id: u32) -> Child {
    fs_err::write(LAST, (id - 1).to_string()).expect("set");
    let child = Command::new("sleep").arg("1000").env_clear().current_dir("/").spawn().expect("runs");
    assert_eq!(child.id(), id, "nobody else starts a process here");
    child
}

/// Every process id that a record names, wherever.
fn ids(record: &Value) -> BTreeSet<u32> {
    match record {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value.as_u64() {
                Some(id) if key == "pid" => BTreeSet::from([u32::try_from(id).expect("fits")]),
                _ => ids(value),
            })
            .collect(),
        Value::Array(all) => all.iter().flat_map(ids).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn who_has_the_id_of_a_dead_process_is_left_alone() {
    if !inside(PROCESSES, test_name!()) {
        return;
    }
    if fs_err::OpenOptions::new().write(true).open(LAST).is_err() {
        eprintln!("not tested: `{LAST}` cannot be written here");
        return;
    }
    let platform = Platform::new(GOOD);
    let supervisor = pid(&platform.start());
    let record = platform.home.join("run/server.json");
    let written = fs_err::read_to_string(&record).expect("a record");
    let ids = ids(&serde_json::from_str(&written).expect("an object"));
    assert!(ids.len() >= 4 && ids.contains(&supervisor), "{written}");
    signal(supervisor, Signal::KILL);
    platform.wait_for_nobody(LIMIT);
    // Zombies have no new parent to reap them but this test, the first process here.
    while rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_ok_and(|ended| ended.is_some()) {}
    let mut strangers: Vec<Child> = ids.into_iter().map(stranger).collect();
    let mut all_live = || strangers.iter_mut().all(|child| child.try_wait().expect("asked").is_none());

    let status = platform.run(&["server", "status"]);
    let words = text(&status);
    assert_eq!(status.status.code(), Some(3), "{words}");
    assert!(words.contains(&supervisor.to_string()), "it says who crashed: {words}");
    assert!(platform.run(&["server", "logs"]).status.success());
    assert!(all_live());
    for words in [&["server", "stop"][..], &["server", "stop", "--now"], &platform.start_words(&[])] {
        fs_err::write(&record, &written).expect("as it was");
        let output = platform.run(words);
        assert!(output.status.success(), "{}", text(&output));
        assert!(all_live(), "after {words:?}");
    }
    platform.stop();
    assert!(all_live());
    platform.assert_clean();
    for mut child in strangers {
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
