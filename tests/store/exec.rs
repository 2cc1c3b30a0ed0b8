//! `stigmer exec` becomes the component: nothing of its surroundings is changed or leaked.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use stigmer_test_support::store::{NAME, Payload, World, carrier, run, strace};

/// The command line in both states of the store: a first start and a warm one.
fn twice(f: impl Fn(&World)) {
    let world = World::new();
    f(&world);
    f(&world);
}

#[test]
fn arguments_arrive_byte_for_byte() {
    twice(|world| {
        let odd: [&[u8]; 8] = [b"", b"--", b"-h", b"--json", b"a b", b"\xff\xfe", b"$HOME", b"--"];
        let mut args: Vec<OsString> = ["exec", NAME, "--", "args"].map(Into::into).to_vec();
        args.extend(odd.iter().map(|arg| OsStr::from_bytes(arg).to_owned()));
        let output = world.command(carrier(Payload::One), &args).output().expect("a start");
        assert!(output.status.success(), "{output:?}");
        let expected: Vec<u8> = odd.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect();
        assert_eq!(output.stdout, expected);
    });
}

#[test]
fn the_exit_code_and_the_signal_are_the_components() {
    twice(|world| {
        for code in [0, 1, 42, 255] {
            world.run(carrier(Payload::One), &["exec", NAME, "--", "exit", &code.to_string()]).code(code);
        }
        for signal in [9, 15] {
            let ran = world.run(carrier(Payload::One), &["exec", NAME, "--", "kill", &signal.to_string()]);
            assert_eq!(ran.signal, Some(signal), "{ran:?}");
        }
    });
}

#[test]
fn environment_streams_and_directory_are_inherited() {
    twice(|world| {
        let exe = carrier(Payload::One);
        let ran = run(world.command(exe, &["exec", NAME, "--", "env"]).env("GREETING", "good day"));
        assert_eq!(ran.code(0).out, "good day\n");
        let elsewhere = world.path("else where");
        std::fs::create_dir_all(&elsewhere).expect("mkdir");
        let ran = run(world.command(exe, &["exec", NAME, "--", "cwd"]).current_dir(&elsewhere));
        assert_eq!(ran.code(0).out.trim(), elsewhere.to_str().expect("text"));
        let mut child = world
            .command(exe, &["exec", NAME, "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a start");
        child.stdin.take().expect("piped").write_all(b"one\ntwo\n").expect("written");
        let output = child.wait_with_output().expect("an end");
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"one\ntwo\n"[..], &b"done\n"[..]));
    });
}

#[test]
fn only_the_lease_stays_open_and_no_signal_stays_ignored() {
    twice(|world| {
        let mut child = world
            .command(carrier(Payload::One), &["exec", NAME, "--", "wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a start");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let proc = format!("/proc/{}", child.id());
        let mut open: Vec<_> = std::fs::read_dir(format!("{proc}/fd"))
            .expect("descriptors")
            .map(|fd| std::fs::read_link(fd.expect("one").path()).expect("a target"))
            .filter(|target| !target.to_string_lossy().starts_with("pipe:"))
            // The shell's own hold on its script, and what whoever runs the tests has left open for us.
            .filter(|target| !target.ends_with("bin/run") && !target.starts_with("/dev"))
            .collect();
        open.sort();
        assert_eq!(
            open,
            [world
                .home()
                .join("locks")
                .join(format!("{}.lease", stigmer_test_support::store::digest(Payload::One)))]
        );
        // Rust programs ignore SIGPIPE; what they become must not.
        assert_eq!(ignored_signals(&proc) & (1 << (rustix::process::Signal::PIPE.as_raw() - 1)), 0);
        child.stdin.take().expect("piped").write_all(b"\n").expect("written");
        assert!(child.wait().expect("an end").success());
    });
}

fn ignored_signals(proc: &str) -> u64 {
    let status = std::fs::read_to_string(format!("{proc}/status")).expect("a status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("SigIgn");
    u64::from_str_radix(ignored.trim(), 16).expect("a mask")
}

#[test]
fn it_starts_through_a_link_and_through_the_path() {
    let world = World::new();
    let bin = world.path("bin");
    std::fs::create_dir_all(&bin).expect("mkdir");
    let link = bin.join("sg");
    std::os::unix::fs::symlink(carrier(Payload::One), &link).expect("symlink");
    let ran = world.run(&link, &["exec", NAME, "--", "hello"]).code(0);
    assert_eq!(ran.out, "hello from One\n");
    let mut command = world.command("/bin/sh".as_ref(), &["-c", "sg exec agent-runner -- hello"]);
    assert_eq!(run(command.env("PATH", &bin)).code(0).out, "hello from One\n");
}

#[test]
fn what_it_does_not_carry_is_named() {
    let world = World::new();
    world.run(carrier(Payload::One), &["exec", "temporal"]).code(69).says(&["temporal", "bundle inspect"]);
    world
        .run(env!("CARGO_BIN_EXE_stigmer").as_ref(), &["exec", NAME])
        .code(69)
        .says(&["bare binary", "hint:"]);
    assert_eq!(world.names_in_store(), Vec::<String>::new());
}

#[test]
fn a_failure_goes_to_standard_error_whatever_the_components_arguments() {
    let world = World::new();
    let ran = world.run(carrier(Payload::One), &["exec", "temporal", "--", "--json"]).code(69);
    assert_eq!(ran.out, "");
    ran.says(&["error:"]);
}

/// The old one still runs when an update has put the new one in its place.
#[test]
fn an_executable_that_is_no_longer_at_its_path_knows_what_it_carries() {
    use std::os::fd::AsRawFd;
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let file = std::fs::File::open(&exe).expect("a file");
    std::fs::remove_file(&exe).expect("removed");
    let exe = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    for args in [&["exec", NAME, "--", "hello"][..], &["exec", NAME, "--", "hello"], &["cache", "warm"]] {
        world.run(exe.as_ref(), args).code(0);
    }
    let text = world.entry(Payload::One).join("lib/text.txt");
    stigmer_test_support::store::set_mode(&text, 0o644);
    std::fs::write(&text, "short").expect("damaged");
    world.run(exe.as_ref(), &["cache", "verify", "--repair"]).code(0);
    assert_eq!(world.problems(Payload::One), []);
    // What it carries is the current payload, however old.
    stigmer_test_support::store::age(&world.place(Payload::One).lease(), 90 * 86_400);
    world.warm(Payload::Small);
    world.run(exe.as_ref(), &["cache", "gc", "--max-size", "0"]).code(0);
    assert!(world.entry(Payload::One).exists());
}

/// Somebody else collected the entry between the look at it and the start.
#[test]
fn a_program_that_is_gone_when_it_is_started_is_a_miss() {
    let world = World::new();
    world.warm(Payload::One);
    let command = world.command(carrier(Payload::One), &["exec", NAME, "--", "hello"]);
    // The first one after our own start.
    let inject = ["-o", "/dev/null", "-e", "trace=execve", "-e", "inject=execve:error=ENOENT:when=1"];
    let ran = run(&mut strace(&inject, &command)).code(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hello from One\n", ""));
    let inject = ["-o", "/dev/null", "-e", "trace=execve", "-e", "inject=execve:error=ENOENT"];
    run(&mut strace(&inject, &command)).code(69).says(&["cannot start", "loader"]);
}

#[test]
fn a_component_whose_program_goes_away_is_made_anew() {
    let world = World::new();
    world.warm(Payload::One);
    stigmer_test_support::store::set_mode(&world.store(), 0o755);
    let away = world.path("away");
    stigmer_test_support::store::set_mode(&world.entry(Payload::One), 0o755);
    std::fs::rename(world.entry(Payload::One), &away).expect("moved");
    assert_eq!(
        world.run(carrier(Payload::One), &["exec", NAME, "--", "hello"]).code(0).out,
        "hello from One\n"
    );
}
