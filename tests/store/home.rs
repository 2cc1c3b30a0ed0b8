//! Homes that are odd, not there, or somebody else's.

use std::os::unix::process::CommandExt;
use stigmer_test_support::store::{
    NAME, Payload, World, as_nobody, carrier, give_to_nobody, is_root, run, set_mode, snapshot,
};

#[test]
fn a_home_may_have_spaces_and_any_letters() {
    for name in ["with space", "d\u{fc}\u{df}\u{65e5}\u{672c}", "quo'te\"s $HOME"] {
        let world = World::named(name);
        for _ in 0..2 {
            let ran = world.run(carrier(Payload::One), &["exec", NAME, "--", "hello"]).code(0);
            assert_eq!(ran.out, "hello from One\n", "{name}");
        }
        world.run(carrier(Payload::One), &["cache", "verify"]).code(0);
        world.run(carrier(Payload::One), &["cache", "clean"]).code(0);
    }
}

#[test]
fn a_home_may_be_no_text_at_all() {
    let world = World::new();
    let home = world
        .path("x")
        .with_file_name(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe"));
    for args in [&["exec", NAME, "--", "hello"][..], &["exec", NAME], &["cache", "path"], &["cache", "warm"]]
    {
        run(world.command(carrier(Payload::One), args).env("STIGMER_HOME", &home)).code(0);
    }
}

#[test]
fn a_relative_home_is_refused() {
    let world = World::new();
    for args in [&["exec", NAME][..], &["cache", "warm"], &["cache", "gc"]] {
        run(world.command(carrier(Payload::One), args).env("STIGMER_HOME", "here"))
            .code(78)
            .says(&["`here`, which is not an absolute path", "hint: set STIGMER_HOME"]);
    }
    assert!(!world.path("here").exists());
}

#[test]
fn an_empty_variable_is_none() {
    let world = World::new();
    let mut command = world.command(carrier(Payload::One), &["exec", NAME, "--", "hello"]);
    let user = world.path("user");
    std::fs::create_dir_all(&user).expect("mkdir");
    run(command.env("STIGMER_HOME", "").env("HOME", &user)).code(0);
    assert!(user.join(".stigmer/store/v1").is_dir());
}

#[test]
fn without_any_home_it_says_what_to_set() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let mut command = world.command(&exe, &["exec", NAME]);
    command.env_remove("STIGMER_HOME");
    if is_root() {
        // Somebody the system does not know.
        command.uid(123_456_789);
    } else {
        command.env("HOME", "not/absolute");
    }
    run(&mut command).code(78).says(&["no home directory", "hint: set STIGMER_HOME"]);
}

#[test]
fn a_home_that_is_a_file_is_named() {
    let world = World::new();
    std::fs::write(world.home(), "x").expect("written");
    let ran = world.run(carrier(Payload::One), &["exec", NAME]).says(&["error:", "/home"]);
    assert!(matches!(ran.code, Some(73 | 74)), "{ran:?}");
    assert_eq!(std::fs::read(world.home()).expect("still a file"), b"x");
}

#[test]
fn the_administrator_makes_nothing_in_somebody_elses_home() {
    if !is_root() {
        return; // An ordinary user cannot be the administrator; CI runs this as root.
    }
    let world = World::new();
    let user = world.path("user");
    std::fs::create_dir_all(&user).expect("mkdir");
    give_to_nobody(&user);
    let exe = world.copy_of(Payload::One);
    let before = snapshot(&user);
    let start = |args: &[&str], by_owner: bool| {
        let mut command = world.command(&exe, args);
        command.env_remove("STIGMER_HOME").env("HOME", &user);
        if by_owner {
            as_nobody(&mut command);
        }
        run(&mut command)
    };
    for args in [&["exec", NAME][..], &["cache", "warm"]] {
        start(args, false).code(77).says(&["as the administrator", "belongs to somebody else", "hint:"]);
    }
    assert_eq!(snapshot(&user), before);
    // What the owner has made can be used, and is not touched.
    start(&["exec", NAME], true).code(0);
    let stamp = std::fs::read_dir(user.join(".stigmer/store/v1"))
        .expect("a store")
        .map(|name| name.expect("a name").path())
        .find(|path| path.extension().is_some_and(|e| e == "stamp"))
        .expect("a stamp");
    let before = snapshot(&user);
    start(&["exec", NAME], false).code(0);
    assert_eq!(snapshot(&user), before);
    // And what is damaged there is the owner's to repair: files of the administrator would be in the owner's way.
    std::fs::remove_file(&stamp).expect("removed");
    let before = snapshot(&user);
    for args in [&["exec", NAME][..], &["cache", "warm"]] {
        start(args, false).code(77);
    }
    start(&["cache", "verify", "--repair"], false).code(77);
    assert_eq!(snapshot(&user), before);
    start(&["exec", NAME], true).code(0);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_a_way_out() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    std::fs::create_dir_all(world.home()).expect("mkdir");
    set_mode(world.home(), 0o555);
    for args in [&["exec", NAME][..], &["cache", "warm"]] {
        let ran = world.run_as_nobody(&exe, args).code(77);
        ran.says(&["ermission denied", world.home().to_str().expect("text"), "hint:", "STIGMER_HOME"]);
    }
}
