//! Hosts that are slow, cut connections, redirect, refuse, know no ranges, or have something else than what was signed.

use std::sync::{Arc, Mutex, mpsc};
use stigmer_test_support::update::{Do, NEW, Request, World, new};

fn size() -> u64 {
    new().index.carrier.size
}

/// What was asked for of carriers and their code.
fn asked(world: &World) -> Vec<Request> {
    world.host.take_log().into_iter().filter(Request::is_for_bytes).collect()
}

#[test]
fn without_ranges_the_whole_file_is_fetched() {
    for refusal in [None, Some(416), Some(501), Some(404)] {
        let world = World::new();
        world.host.rule(move |request| match refusal {
            None => Do::Whole,
            Some(status) if request.range.is_some() => Do::Status(status, ""),
            Some(_) => Do::Serve,
        });
        let ran = world.run(&["self-update"]).code(0);
        ran.says(&["note: the whole file was fetched"]);
        world.assert_updated();
    }
}

#[test]
fn what_was_fetched_whole_is_not_said_to_have_been_here() {
    let world = World::new();
    world.host.rule(|_| Do::Whole);
    let report = world.update(&[]);
    assert_eq!(report["reused_bytes"], 0, "{report}");
    assert!(report["fetched_bytes"].as_u64() > Some(size()), "{report}");
}

#[test]
fn no_delta_fetches_the_whole_file_with_one_request() {
    let world = World::new();
    let plan = world.update(&["--dry-run", "--no-delta"]);
    assert_eq!((plan["fetch_bytes"].as_u64(), plan["requests"].as_u64()), (Some(size()), Some(1)));
    asked(&world);
    world.update(&["--no-delta"]);
    world.assert_updated();
    let asked = asked(&world);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].range, None);
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    for args in [&["self-update"][..], &["self-update", "--no-delta"]] {
        let world = World::new();
        // Every answer breaks, but each brings something.
        world.host.rule(|request| if request.is_for_bytes() { Do::Cut(1_500_000) } else { Do::Serve });
        world.run(args).code(0);
        world.assert_updated();
        let asked = asked(&world);
        let again: Vec<_> = asked.iter().filter(|request| request.nth > 0).collect();
        assert!(!again.is_empty());
        for request in again {
            assert!(request.range.is_some(), "{request:?}");
        }
        let resumed = asked.windows(2).any(|pair| {
            let first = pair[0].range.as_ref().map_or(0, |range| range.start);
            pair[0].path == pair[1].path
                && pair[1].range.as_ref().is_some_and(|range| range.start == first + 1_500_000)
                && pair[1].header("if-range").is_some()
        });
        assert!(resumed, "{asked:?}");
    }
}

#[test]
fn a_file_that_changes_in_the_middle_is_fetched_from_its_beginning() {
    let world = World::new();
    let other = vec![7; usize::try_from(size()).expect("fits")];
    world.host.rule(move |request| match request.nth {
        0 if request.is_for_bytes() => Do::CutOf(other.clone(), 1_000_000),
        _ => Do::Serve,
    });
    world.update(&["--no-delta"]);
    world.assert_updated();
    let asked = asked(&world);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1].range.as_ref().map(|range| range.start), Some(1_000_000));
}

#[test]
fn a_host_that_is_busy_is_asked_again() {
    for (status, header) in
        [(429, "Retry-After: 0"), (503, "Retry-After: 1"), (500, ""), (502, ""), (504, "")]
    {
        let world = World::new();
        world.host.rule(move |request| if request.nth == 0 { Do::Status(status, header) } else { Do::Serve });
        world.update(&[]);
        world.assert_updated();
    }
}

#[test]
fn patience_has_an_end_and_what_was_fetched_is_kept() {
    let world = World::new();
    world.host.rule(|_| Do::Status(503, "Retry-After: 0"));
    world.run(&["self-update"]).code(68).says(&["status 503", "releases.json", "--offline"]);
    world.assert_untouched();
    world.host.rule(|_| Do::Status(429, "Retry-After: 86400"));
    world.run(&["self-update"]).code(68).says(&["come back in 86400 s"]);
    world.assert_untouched();
    // Half of the file, and then nothing.
    world.host.rule(|request| match request.nth {
        0 if request.is_for_bytes() => Do::Cut(12_000_000),
        _ if request.is_for_bytes() => Do::Status(503, "Retry-After: 0"),
        _ => Do::Serve,
    });
    world.run(&["self-update", "--no-delta"]).code(68).says(&["status 503"]);
    assert_eq!(world.names().len(), 2, "{:?}", world.names());
    world.host.rule(|_| Do::Serve);
    asked(&world);
    world.update(&[]);
    world.assert_updated();
}

#[test]
fn half_of_a_file_is_half_of_the_work() {
    let world = World::new();
    let half = usize::try_from(size() / 2).expect("fits");
    world.host.rule(move |request| match (request.is_for_bytes(), request.nth) {
        (true, 0) => Do::Cut(half),
        (true, _) => Do::Status(404, ""),
        _ => Do::Serve,
    });
    world.run(&["self-update", "--no-delta"]).code(68);
    world.host.rule(|_| Do::Serve);
    asked(&world);
    // The executable that runs is damaged, so that nothing of it helps.
    let plan = world.update(&["--dry-run"]);
    let fetch = plan["fetch_bytes"].as_u64().expect("a number");
    assert!(fetch < size() / 10, "what is here already counts too: {plan}");
    world.update(&[]);
    world.assert_updated();
}

#[test]
fn a_host_that_falls_silent_is_given_up_and_asked_again() {
    let world = World::new();
    let gate = Arc::new(Mutex::new(()));
    let (told, silent) = mpsc::channel();
    let guard = gate.lock().expect("ours");
    let hold = gate.clone();
    world.host.rule(move |request| match request.nth {
        0 if request.is_for_bytes() => Do::Hold(1000, told.clone(), hold.clone()),
        _ => Do::Serve,
    });
    world.update(&[]);
    world.assert_updated();
    assert!(silent.try_recv().is_ok());
    drop(guard);
}

#[test]
fn redirects_are_followed_and_expire() {
    let world = World::new();
    let url = world.host.url();
    let count = Mutex::new(0);
    world.host.rule(move |request| {
        let path = request.path.clone();
        if let Some(real) = path.strip_prefix("/signed") {
            // An address is good for one request; then it is refused, as an expired one is.
            if request.nth > 0 {
                return Do::Status(403, "");
            }
            let mut count = count.lock().expect("ours");
            *count += 1;
            assert!(real.contains('?'));
            return if *count % 3 == 0 { Do::Status(403, "") } else { Do::Serve };
        }
        if request.is_for_bytes() {
            Do::Redirect(format!("{url}/signed{path}?nth={}", request.nth))
        } else {
            Do::Serve
        }
    });
    // The path of a redirect is another one at the host.
    let files: Vec<(String, Vec<u8>)> =
        stigmer_test_support::update::publish(&[stigmer_test_support::update::old(), new()])
            .into_iter()
            .flat_map(|(path, content)| [(format!("/signed{path}"), content.clone()), (path, content)])
            .collect();
    world.host.replace(files);
    world.update(&[]);
    world.assert_updated();
    let log = world.host.take_log();
    let led: Vec<_> = log.iter().filter(|request| request.path.starts_with("/signed")).collect();
    assert!(led.len() > 1 && led.iter().all(|request| request.range.is_some()), "{led:?}");
}

#[test]
fn bytes_that_were_not_signed_are_refused_wherever_they_stand() {
    let size = usize::try_from(size()).expect("fits");
    // One bit in all of the file, so that whatever is fetched holds some.
    let flip = |bytes: &mut Vec<u8>| bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    let swap = |bytes: &mut Vec<u8>| bytes.rotate_left(4096);
    for change in [&flip as &dyn Fn(&mut Vec<u8>), &swap] {
        for name in [&new().index.carrier.name, &new().index.code.name] {
            let world = World::new();
            world.host.change(name, change);
            world.run(&["self-update"]).code(65).says(&[
                name,
                "does not match its signed digest",
                "nothing was changed",
            ]);
            world.assert_untouched();
        }
        let world = World::new();
        world.host.change(&new().index.carrier.name, change);
        world.run(&["self-update", "--no-delta"]).code(65).says(&["the whole", "does not match"]);
        world.assert_untouched();
    }
    for (len, found) in [(size - 1, size - 1), (size + 1, size + 1), (0, 0), (size * 2, size * 2)] {
        for args in [&["self-update"][..], &["self-update", "--no-delta"]] {
            let world = World::new();
            world.host.change(&new().index.carrier.name, |bytes| bytes.resize(len, 0));
            let ran = world.run(args);
            assert!(matches!(ran.code, Some(65)), "{len}: {ran:#?}");
            ran.says(&[&format!("it has {found} bytes there; {size} were expected")]);
            world.assert_untouched();
        }
    }
}

/// No host makes us read more than was signed.
#[test]
fn a_document_without_end_is_not_read_to_it() {
    let world = World::new();
    for endless in [true, false] {
        let bytes = vec![b' '; 5 << 20];
        world.host.rule(move |request| match request.path.as_str() {
            "/releases.json" if endless => Do::Unmeasured(bytes.clone()),
            "/releases.json" => Do::Instead(bytes.clone()),
            _ => Do::Serve,
        });
        world.run(&["self-update"]).code(65).says(&["longer than 4194304 bytes", "not read any further"]);
        world.assert_untouched();
    }
}

#[test]
fn bodies_of_unknown_length_are_good_enough_if_they_are_whole() {
    let world = World::new();
    let content = world.host.file(&new().index.carrier.name);
    let half = content[..content.len() / 2].to_vec();
    world.host.rule(move |request| match (request.is_for_bytes(), request.nth) {
        (true, 0) => Do::Unmeasured(half.clone()),
        (true, _) => Do::Unmeasured(content.clone()),
        _ => Do::Serve,
    });
    world.update(&["--no-delta"]);
    world.assert_updated();
}

#[test]
fn a_proxy_that_compresses_does_no_harm() {
    let world = World::new();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, world.host.file("/releases.json")).expect("written");
    let zipped = std::process::Command::new("gzip")
        .arg("-c")
        .arg(&file)
        .output()
        .expect("this test needs gzip")
        .stdout;
    world.host.rule(move |request| match request.path.as_str() {
        "/releases.json" => Do::With("Content-Encoding: gzip", zipped.clone()),
        _ => Do::Serve,
    });
    world.update(&[]);
    world.assert_updated();
}

#[test]
fn nobody_there_is_said_plainly() {
    let world = World::new();
    let mut command = world.command(&["self-update"]);
    let ran = stigmer_test_support::update::run(command.env("STIGMER_RELEASES_URL", "http://127.0.0.1:9"));
    ran.code(68).says(&[
        "cannot fetch `http://127.0.0.1:9/releases.json`",
        "hint:",
        "HTTPS_PROXY",
        "--offline",
    ]);
    for senseless in ["ftp://host", "https://user:password@host", "host"] {
        let mut command = world.command(&["self-update"]);
        let ran = stigmer_test_support::update::run(command.env("STIGMER_RELEASES_URL", senseless));
        ran.code(78).says(&["no place to fetch releases from", "[update] url"]);
    }
    world.assert_untouched();
    for file in ["config.toml", "nothing"] {
        world.config(&format!("ca_file = {:?}", world.home().join(file)));
        world.run(&["self-update"]).code(78).says(&[file, "[update] ca_file", "PEM"]);
    }
    world.config("");
    world.host.remove("/releases.json");
    world.run(&["self-update"]).code(68).says(&["no such file", "is this where releases are published?"]);
}

#[test]
fn the_address_may_stand_in_the_configuration() {
    let world = World::new();
    world.config(&format!("url = \"{}\"\nchannel = \"beta\"", world.host.url()));
    let mut command = world.command(&["self-update", "--json"]);
    let report = stigmer_test_support::update::run(command.env_remove("STIGMER_RELEASES_URL")).code(0).json();
    assert_eq!(report["to"], NEW);
    world.assert_updated();
}
