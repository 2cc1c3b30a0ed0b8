//! Starts that find everything ready, and first starts that come all at once.

use std::path::Path;
use std::process::Stdio;
use stigmer_test_support::store::{NAME, Payload, World, carrier, run, settle, snapshot, strace};

/// Everything that can change a file system.
const CHANGING: &str = "trace=execve,?open,openat,?openat2,?creat,write,?pwrite64,?pwritev,?writev,?sendfile,\
    ?copy_file_range,?mkdir,?mkdirat,?rename,?renameat,?renameat2,?chmod,?fchmod,?fchmodat,?chown,?fchown,?fchownat,\
    ?symlink,?symlinkat,?link,?linkat,?unlink,?unlinkat,?rmdir,?ftruncate,?truncate,?fallocate,?utimensat,?mknodat";

/// The lines of a trace, up to the component's start, that change something in a file system.
fn changes(trace: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(trace).expect("a trace");
    let mut lines = text.lines().filter_map(|line| line.split_once(' ').map(|(_pid, call)| call.trim()));
    assert!(lines.next().is_some_and(|line| line.starts_with("execve(")), "{text}");
    lines
        .take_while(|line| !line.starts_with("execve("))
        .filter(|line| !line.starts_with("+++") && !line.starts_with("---"))
        .filter(|line| !line.starts_with("write(1,") && !line.starts_with("write(2,"))
        .filter(|line| !(line.starts_with("open") && line.contains("O_RDONLY") && !line.contains("O_CREAT")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_second_start_writes_nothing() {
    let world = World::new();
    let exe = carrier(Payload::One);
    world.run(exe, &["exec", NAME, "--", "hello"]).code(0);
    let before = snapshot(world.home());
    for args in [&["exec", NAME, "--", "hello"][..], &["exec", NAME], &["cache", "warm"], &["cache", "path"]]
    {
        let trace = world.path("trace");
        let command = world.command(exe, args);
        run(&mut strace(&["-o", trace.to_str().expect("text"), "-e", CHANGING], &command)).code(0);
        assert_eq!(changes(&trace), Vec::<String>::new(), "{args:?}");
        assert_eq!(snapshot(world.home()), before, "{args:?}");
    }
}

/// The trace above would show what is written: on a first start it does.
#[test]
fn a_first_start_does_write() {
    let world = World::new();
    let trace = world.path("trace");
    let command = world.command(carrier(Payload::Small), &["exec", NAME]);
    run(&mut strace(&["-o", trace.to_str().expect("text"), "-e", CHANGING], &command)).code(0);
    let changes = changes(&trace);
    for call in ["mkdir", "pwrite64", "fchmod", "rename", "symlink"] {
        assert!(changes.iter().any(|line| line.contains(call)), "{call}: {changes:#?}");
    }
}

#[test]
fn of_32_first_starts_one_materializes_and_all_succeed() {
    let world = World::new();
    let children: Vec<_> = (0..32)
        .map(|_| {
            let mut command = world.command(carrier(Payload::One), &["cache", "warm", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start")
        })
        .collect();
    let mut outcomes: Vec<String> = children
        .into_iter()
        .map(|child| stigmer_test_support::Ran::from(child.wait_with_output().expect("an end")).outcome())
        .collect();
    outcomes.sort();
    let mut expected = vec!["materialized"];
    expected.resize(32, "warm");
    assert_eq!(outcomes, expected);
    assert_eq!(world.problems(Payload::One), []);
    world.assert_no_leftovers();
}

#[test]
fn of_32_first_execs_all_become_the_component() {
    let world = World::new();
    let children: Vec<_> = (0..32)
        .map(|_| {
            let mut command = world.command(carrier(Payload::One), &["exec", NAME, "--", "hello"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start")
        })
        .collect();
    for child in children {
        let ran = stigmer_test_support::Ran::from(child.wait_with_output().expect("an end")).code(0);
        assert_eq!(ran.out, "hello from One\n");
    }
    world.assert_no_leftovers();
}

#[test]
fn the_same_version_with_another_payload_is_another_entry() {
    let world = World::new();
    for (payload, word) in [(Payload::One, "One"), (Payload::Two, "Two"), (Payload::One, "One")] {
        let ran = world.run(carrier(payload), &["exec", NAME, "--", "hello"]).code(0);
        assert_eq!(ran.out, format!("hello from {word}\n"));
    }
}

#[test]
fn two_versions_side_by_side_leave_each_other_alone() {
    let world = World::new();
    let both = [Payload::One, Payload::Two];
    for payload in both {
        world.warm(payload);
    }
    // Files the two share have changed their link count since the first was stamped: that costs it one look.
    for payload in both {
        let outcome = world.warm(payload).outcome();
        assert!(outcome == "warm" || (outcome == "verified" && payload == Payload::One), "{outcome}");
    }
    settle(&world.path("clock"));
    let store = snapshot(&world.store());
    for payload in [both, both].concat() {
        assert_eq!(world.warm(payload).outcome(), "warm", "{payload:?}");
        world.run(carrier(payload), &["exec", NAME]).code(0);
    }
    assert_eq!(snapshot(&world.store()), store);
}

#[test]
fn the_stable_path_leads_to_what_was_started_last() {
    let world = World::new();
    let stable = world.home().join("bin").join(NAME);
    for payload in [Payload::One, Payload::Two, Payload::One, Payload::Two] {
        world.warm(payload);
        let target = stable.canonicalize().expect("a program");
        assert!(target.starts_with(world.entry(payload)), "{payload:?}: {}", target.display());
    }
}
