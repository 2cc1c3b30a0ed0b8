//! Collection: what is current, previous or in use stays, the rest goes, and nothing of it is left behind.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use stigmer_test_support::store::{NAME, Payload, World, age, carrier, digest, snapshot};

const DAY: u64 = 86_400;

/// A component that runs until it is told to end.
struct Running {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(world: &World, payload: Payload) -> Self {
        let mut command = world.command(carrier(payload), &["exec", NAME, "--", "wait"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a start");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Self { child, out }
    }

    fn end(mut self) -> String {
        self.child.stdin.take().expect("piped").write_all(b"\n").expect("written");
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        assert!(self.child.wait().expect("an end").success());
        line
    }
}

/// All three payloads, used one, two and three times `days` ago: Small, Two, One.
fn three(days: u64) -> World {
    let world = World::new();
    for (payload, times) in [(Payload::One, 3), (Payload::Two, 2), (Payload::Small, 1)] {
        world.warm(payload);
        age(&world.place(payload).lease(), times * days * DAY);
    }
    world
}

fn gone(world: &World) -> Vec<Payload> {
    let all = [Payload::One, Payload::Two, Payload::Small];
    all.into_iter().filter(|payload| !world.entry(*payload).exists()).collect()
}

#[test]
fn the_current_and_the_previous_stay_and_the_old_goes_without_a_trace() {
    let world = three(40);
    let ran = world.run(carrier(Payload::Small), &["cache", "gc", "--json"]).code(0);
    assert_eq!(ran.json()["removed"][0]["digest"], digest(Payload::One).to_string());
    assert_eq!(gone(&world), [Payload::One]);
    let traces =
        world.names_in_store().iter().filter(|n| n.contains(&digest(Payload::One).to_string())).count();
    assert_eq!(traces, 0, "{:?}", world.names_in_store());
    world.assert_no_leftovers();
    for payload in [Payload::Two, Payload::Small] {
        assert_eq!(world.problems(payload), []);
        world.run(carrier(payload), &["exec", NAME]).code(0);
    }
}

#[test]
fn what_was_used_lately_stays_unless_a_shorter_age_or_a_size_is_given() {
    for (args, expected) in [
        (&[][..], &[][..]),
        (&["--max-age", "1h"], &[Payload::One]),
        (&["--max-size", "5"], &[Payload::One]),
        (&["--max-size", "5000"], &[]),
    ] {
        let world = three(1);
        world.run(carrier(Payload::Small), &[&["cache", "gc"], args].concat()).code(0);
        assert_eq!(gone(&world), expected, "{args:?}");
    }
}

#[test]
fn the_configuration_says_what_is_old() {
    let world = three(1);
    std::fs::write(world.home().join("config.toml"), "[cache]\nmax_age = \"12h\"\n").expect("written");
    world.run(carrier(Payload::Small), &["cache", "gc"]).code(0);
    assert_eq!(gone(&world), [Payload::One]);
    std::fs::write(world.home().join("config.toml"), "[cache]\nmax_aeg = \"12h\"\n").expect("written");
    world.run(carrier(Payload::Small), &["cache", "gc"]).code(78).says(&["max_aeg", "config.toml"]);
}

#[test]
fn a_dry_run_says_it_all_and_does_nothing() {
    let world = three(40);
    let before = snapshot(&world.store());
    let ran = world.run(carrier(Payload::Small), &["cache", "gc", "--dry-run"]).code(0);
    assert!(ran.out.contains("would remove agent-runner 1.0"), "{ran:?}");
    let ran = world.run(carrier(Payload::Small), &["cache", "clean", "--dry-run", "--json"]).code(0);
    assert_eq!(ran.json()["removed"].as_array().map(Vec::len), Some(3));
    assert_eq!(snapshot(&world.store()), before);
}

#[test]
fn what_runs_is_never_collected() {
    let world = three(40);
    let running = Running::start(&world, Payload::One);
    age(&world.place(Payload::One).lease(), 100 * DAY);
    let pid = running.child.id();
    let listed = world.run(carrier(Payload::Small), &["cache", "list", "--json"]).code(0).json();
    let by: Vec<_> =
        listed["entries"].as_array().expect("entries").iter().map(|e| e["in_use_by"].clone()).collect();
    assert!(by.contains(&serde_json::json!([pid])), "{listed}");
    assert!(world.run(carrier(Payload::Small), &["cache", "list"]).out.contains(&format!("pid {pid}")));
    // Collecting is not asked to remove what is in use, so keeping it is no failure; cleaning is.
    for args in [&["cache", "gc"][..], &["cache", "gc", "--max-size", "0"]] {
        let ran = world.run(carrier(Payload::Small), args).code(0);
        assert!(ran.out.contains(&format!("in use by pid {pid}")), "{ran:?}");
    }
    world.run(carrier(Payload::Small), &["cache", "clean"]).code(75).says(&["in use"]);
    assert_eq!(gone(&world), [Payload::Two, Payload::Small]);
    assert_eq!(world.problems(Payload::One), []);
    assert_eq!(running.end(), "still One\n");
    world.run(carrier(Payload::Small), &["cache", "clean"]).code(0);
    assert_eq!(world.names_in_store(), Vec::<String>::new());
}

#[test]
fn what_is_being_worked_on_is_not_collected() {
    let world = three(40);
    let lock = std::fs::File::open(world.place(Payload::One).lock()).expect("a lock");
    fs2::FileExt::try_lock_exclusive(&lock).expect("free");
    world.run(carrier(Payload::Small), &["cache", "gc"]).code(0);
    world.run(carrier(Payload::Small), &["cache", "clean"]).code(75);
    assert_eq!(gone(&world), [Payload::Two, Payload::Small]);
    assert_eq!(world.problems(Payload::One), []);
}

#[test]
fn after_a_clean_everything_can_be_had_again() {
    let world = three(1);
    world.run(carrier(Payload::One), &["cache", "clean"]).code(0);
    assert_eq!(world.names_in_store(), Vec::<String>::new());
    // The stable path leads nowhere now, so it is not there either.
    assert!(world.home().join("bin").join(NAME).symlink_metadata().is_err());
    assert_eq!(world.warm(Payload::One).outcome(), "materialized");
}

#[test]
fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
    let world = World::new();
    world.warm(Payload::One);
    let store = world.store();
    let short = digest(Payload::Two).short();
    for dir in [".trash-1-2-3/deep", &format!(".tmp-{short}-dead/deep"), ".tmp-0123456789ab-dead/deep"] {
        std::fs::create_dir_all(store.join(dir)).expect("mkdir");
        std::fs::write(store.join(dir).join("file"), "x").expect("written");
        stigmer_test_support::store::set_mode(&store.join(dir), 0o555);
    }
    let old_files = [
        ".tmp-stamp-dead".to_owned(),
        ".tmp-manifest-dead".to_owned(),
        format!("{}.manifest", "0".repeat(64)),
    ];
    for name in &old_files {
        std::fs::write(store.join(name), "x").expect("written");
        age(&store.join(name), 2 * 3600);
    }
    std::fs::write(store.join(".tmp-stamp-alive"), "x").expect("written");
    std::fs::create_dir_all(world.home().join("bin/.tmp-dead/deep")).expect("mkdir");
    age(&world.home().join("bin/.tmp-dead"), 2 * 3600);

    // Somebody is at work on the second payload.
    std::fs::create_dir_all(world.home().join("locks")).expect("mkdir");
    let lock = std::fs::File::create(world.place(Payload::Two).lock()).expect("a lock");
    fs2::FileExt::try_lock_exclusive(&lock).expect("free");
    world.run(carrier(Payload::One), &["cache", "gc"]).code(0);
    let own = digest(Payload::One);
    let expected = [
        ".tmp-stamp-alive".to_owned(),
        format!(".tmp-{short}-dead"),
        own.to_string(),
        format!("{own}.manifest"),
        format!("{own}.stamp"),
    ];
    let mut names = world.names_in_store();
    names.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(names, expected);
    assert!(!world.home().join("bin/.tmp-dead").exists());
    drop(lock);
    world.run(carrier(Payload::One), &["cache", "gc"]).code(0);
    assert!(!store.join(format!(".tmp-{short}-dead")).exists());
}

#[test]
fn a_store_that_is_not_there_is_an_empty_one() {
    let world = World::new();
    for args in [["cache", "gc"], ["cache", "clean"], ["cache", "verify"], ["cache", "list"]] {
        world.run(carrier(Payload::One), &args).code(0);
    }
    assert!(!world.home().exists(), "looking creates nothing");
}
