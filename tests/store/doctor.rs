//! `stigmer doctor`: each thing that can be wrong is found, named, and comes with a next step; and nothing is changed.

use crate::damages::rewrite;
use std::path::Path;
use stigmer_test_support::namespace::{MOUNTS, inside, mount};
use stigmer_test_support::store::{NAME, Payload, World, carrier, run, set_mode, snapshot, strace};
use stigmer_test_support::{Ran, test_name};

/// A public key; whose, does not matter here. It is the one minisign's own documentation shows.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Asks, and gives the line of the check `name`: verdict, detail, next step.
#[track_caller]
fn ask(world: &World, exe: &Path, name: &str) -> (String, String, String) {
    line(&world.run(exe, &["doctor", "--json"]), name)
}

#[track_caller]
fn line(ran: &Ran, name: &str) -> (String, String, String) {
    let report = ran.json();
    let checks = report["checks"].as_array().expect("checks");
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    let count = |verdict: &str| checks.iter().filter(|check| check["verdict"] == verdict).count();
    assert_eq!(report["problems"], count("problem"), "{report}");
    assert_eq!(report["warnings"], count("warning"), "{report}");
    assert_eq!(ran.code, Some(i32::from(count("problem") > 0)), "{report}");
    // Whatever is not well comes with what to do.
    for check in checks {
        assert_eq!(check["verdict"] == "ok", check["next"].is_null(), "{check}");
    }
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail"), text("next"))
}

/// Everything in the home. A file was tried in the home itself, which its own time shows.
fn content(world: &World) -> impl Eq + std::fmt::Debug + use<> {
    let mut content = snapshot(world.home());
    content.retain(|path, _| path != world.home());
    content
}

#[test]
fn on_a_new_machine_all_is_well_and_nothing_is_made() {
    let world = World::new();
    let ran = world.run(carrier(Payload::One), &["doctor"]).code(0);
    assert!(!world.home().exists());
    assert!(ran.out.ends_with("all is well\n"), "{}", ran.out);
    assert!(
        ran.out.contains("does not exist yet") && ran.out.contains("is not materialized yet"),
        "{}",
        ran.out
    );
}

#[test]
fn a_home_in_use_is_well_and_stays_as_it_is() {
    let world = World::new();
    world.warm(Payload::One);
    let before = content(&world);
    let ran = world.run(carrier(Payload::One), &["doctor"]).code(0);
    assert!(ran.out.contains("is sound in") && ran.out.contains("intact"), "{}", ran.out);
    assert!(content(&world) == before, "it changed");
}

#[test]
fn a_damaged_entry_is_a_problem_and_stays_as_it_is() {
    let world = World::new();
    world.warm(Payload::One);
    rewrite(&world.entry(Payload::One).join("lib/text.txt"), |bytes| bytes[0] ^= 1);
    let before = content(&world);
    let (verdict, detail, next) = ask(&world, carrier(Payload::One), "entry");
    assert_eq!(verdict, "problem");
    assert!(detail.contains("lib/text.txt") && next.contains("cache verify --repair"), "{detail} {next}");
    assert!(content(&world) == before, "it changed");
}

#[test]
fn a_damaged_bundle_is_a_problem() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let at = stigmer::bundle::Carrier::open(&exe).expect("a carrier").range();
    rewrite(&exe, |bytes| bytes[usize::try_from(at.start.midpoint(at.end)).expect("fits")] ^= 1);
    let (verdict, _, next) = ask(&world, &exe, "bundle");
    assert_eq!((verdict.as_str(), next.contains("install stigmer again")), ("problem", true), "{next}");
}

#[test]
fn a_bare_executable_is_a_warning() {
    let world = World::new();
    let (verdict, _, next) = ask(&world, Path::new(env!("CARGO_BIN_EXE_stigmer")), "bundle");
    assert_eq!((verdict.as_str(), next.contains("--use-local-binary")), ("warning", true), "{next}");
}

#[test]
fn settings_that_are_not_understood_are_a_problem() {
    let world = World::new();
    std::fs::create_dir_all(world.home()).expect("mkdir");
    std::fs::write(world.home().join("config.toml"), "[server]\nprot = 1\n").expect("written");
    let (verdict, detail, _) = ask(&world, carrier(Payload::One), "settings");
    assert_eq!(verdict, "problem");
    assert!(detail.contains("config.toml") && detail.contains("prot"), "{detail}");
}

#[test]
fn a_home_others_may_write_to_is_a_warning() {
    let world = World::new();
    world.warm(Payload::One);
    set_mode(world.home(), 0o777);
    let (verdict, detail, next) = ask(&world, carrier(Payload::One), "home");
    assert_eq!((verdict.as_str(), next.contains("chmod go-w")), ("warning", true), "{detail} {next}");
}

#[test]
fn a_home_of_somebody_else_is_a_problem() {
    let world = World::new();
    world.warm(Payload::One);
    let exe = world.copy_of(Payload::One);
    set_mode(world.home(), 0o755);
    let ran = world.run_as_nobody(&exe, &["doctor", "--json"]);
    let (verdict, detail, _) = line(&ran, "home");
    assert_eq!(verdict, "problem", "{detail}");
}

#[test]
fn a_file_from_the_future_says_that_the_clock_is_wrong() {
    let world = World::new();
    world.warm(Payload::One);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    std::fs::File::open(world.store()).and_then(|dir| dir.set_modified(later)).expect("utimes");
    let (verdict, detail, _) = ask(&world, carrier(Payload::One), "clock");
    assert_eq!(verdict, "warning", "{detail}");
}

#[test]
fn a_file_system_without_locks_is_a_warning() {
    let world = World::new();
    let command = world.command(carrier(Payload::One), &["doctor", "--json"]);
    let ran = run(&mut strace(&["-qq", "-o", "/dev/null", "-e", "inject=flock:error=EOPNOTSUPP"], &command));
    let (verdict, detail, _) = line(&ran, "locks");
    assert_eq!((verdict.as_str(), detail.contains("does not lock")), ("warning", true), "{detail}");
}

#[test]
fn a_mount_that_forbids_writing_or_programs_or_has_no_room_is_named() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    mount(&["-t", "tmpfs", "-o", "size=1m,noexec", "tmpfs"], world.home());
    let exe = carrier(Payload::One);
    let (verdict, _, next) = ask(&world, exe, "noexec");
    assert_eq!((verdict.as_str(), next.contains("STIGMER_HOME")), ("problem", true), "{next}");
    assert_eq!(ask(&world, exe, "disk").0, "warning");
    let (verdict, detail, _) = ask(&world, exe, "entry");
    assert_eq!((verdict.as_str(), detail.contains(NAME)), ("problem", true), "{detail}");
    mount(&["-o", "remount,ro"], world.home());
    let (verdict, detail, _) = ask(&world, exe, "home");
    assert_eq!((verdict.as_str(), detail.contains("ead-only")), ("problem", true), "{detail}");
}

#[test]
fn settings_of_the_update_that_cannot_work_are_a_problem() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    std::fs::create_dir_all(world.home()).expect("made");
    for (setting, expected) in
        [("url = \"ftp://x\"", "ftp://x"), ("ca_file = \"/nonexistent/ca.pem\"", "/nonexistent/ca.pem")]
    {
        let text = format!("[update]\ntrusted_keys = [\"{KEY}\"]\n{setting}\n");
        std::fs::write(world.home().join("config.toml"), text).expect("written");
        let (verdict, detail, next) = ask(&world, &exe, "update");
        assert_eq!((verdict.as_str(), detail.contains(expected)), ("problem", true), "{detail}");
        assert!(next.contains("mend [update] in config.toml"), "{next}");
    }
    let mut command = world.command(&exe, &["doctor", "--json"]);
    std::fs::write(world.home().join("config.toml"), format!("[update]\ntrusted_keys = [\"{KEY}\"]\n"))
        .expect("written");
    let ran = run(command.env("HTTPS_PROXY", "nonsense://me:secret@proxy"));
    let (verdict, detail, _) = line(&ran, "update");
    assert_eq!((verdict.as_str(), detail.contains("HTTPS_PROXY")), ("problem", true), "{detail}");
    assert!(!ran.out.contains("secret"), "{}", ran.out);
}
