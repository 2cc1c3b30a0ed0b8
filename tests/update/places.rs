//! Where stigmer is installed: behind links, in directories that others own or that cannot be written, on full disks, beside
//! leftovers; and what runs meanwhile.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use stigmer_test_support::namespace::{MOUNTS, inside, mount};
use stigmer_test_support::test_name;
use stigmer_test_support::update::{
    Do, NEW, OLD, Release, World, copy_program, described, new, old, publish, run, same, version_of,
};

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_link_stays_a_link_and_its_end_is_updated() {
    for target in ["../bin/stigmer", "absolute", "stigmer-2"] {
        let world = World::new();
        let links = world.path("links");
        std::fs::create_dir(&links).expect("mkdir");
        let (link, target) =
            (links.join("stigmer"), if target == "absolute" { world.exe() } else { PathBuf::from(target) });
        symlink(&target, &link).expect("a link");
        symlink("../bin/stigmer", links.join("stigmer-2")).expect("a link");
        run(&mut world.command_at(&link, &["self-update"])).code(0);
        assert_eq!(std::fs::read_link(&link).expect("still a link"), target);
        assert_eq!(version_of(&world, &link), NEW);
        world.assert_updated();
        assert_eq!(std::fs::read_dir(&links).expect("listed").count(), 2);
    }
}

#[test]
fn permissions_stay_and_nothing_is_staged_elsewhere() {
    let world = World::new();
    set_mode(&world.exe(), 0o751);
    // No temporary directory is needed, wherever it is said to be.
    let mut command = world.command(&["self-update"]);
    run(command.env("TMPDIR", "/no/such/directory")).code(0);
    world.assert_updated();
    let meta = world.exe().metadata().expect("a file");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o751);
    assert_eq!(meta.uid(), world.previous().metadata().expect("a file").uid());
}

#[test]
fn leftovers_of_other_updates_go_and_foreign_files_stay() {
    let world = World::new();
    for name in [".stigmer.new-0123456789ab", ".stigmer.newer", "stigmer.bak", ".other.new-0123456789ab"] {
        std::fs::write(world.bin().join(name), "x").expect("written");
    }
    world.update(&[]);
    let names = world.names();
    assert_eq!(
        names,
        [".other.new-0123456789ab", ".stigmer.newer", "stigmer", "stigmer.bak", "stigmer.previous"]
    );
}

/// What somebody puts at the name of the file in the making does not lead us elsewhere.
#[test]
fn a_link_in_the_way_is_not_written_through() {
    let world = World::new();
    let victim = world.path("victim");
    std::fs::write(&victim, "precious").expect("written");
    let name = format!(".stigmer.new-{}", new().index.carrier.blake3.short());
    symlink(&victim, world.bin().join(name)).expect("a link");
    world.update(&[]);
    world.assert_updated();
    assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
}

#[test]
fn a_directory_of_somebody_else_is_named_before_anything_is_fetched() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    for path in [world.path(""), world.bin(), world.home()] {
        set_mode(&path, 0o755);
    }
    std::os::unix::fs::chown(world.home(), Some(65534), Some(65534)).expect("chown");
    let mut command = world.command(&["self-update"]);
    let ran = run(command.uid(65534).gid(65534));
    let command = format!("sudo -H {} self-update", world.exe().display());
    ran.code(77).says(&["cannot be written", "belongs to the administrator", &command]);
    world.assert_untouched();
    assert!(world.host.take_log().is_empty());
}

/// `sudo` may keep the home of whoever calls it.
#[test]
fn the_administrator_notes_nothing_in_somebody_elses_home() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    std::os::unix::fs::chown(world.home(), Some(65534), Some(65534)).expect("chown");
    world.run(&["self-update"]).code(77).says(&["refusing to create files as the administrator", "hint:"]);
    world.assert_untouched();
    let names: Vec<_> =
        std::fs::read_dir(world.home()).expect("listed").flatten().map(|name| name.file_name()).collect();
    assert_eq!(names, ["config.toml"]);
}

#[test]
fn who_else_looks_after_it_is_asked_to() {
    let world = World::new();
    let place = |path: &str| {
        let exe = world.path(path);
        std::fs::create_dir_all(exe.parent().expect("a parent")).expect("mkdir");
        copy_program(&world.exe(), &exe);
        exe
    };
    let brew = place("opt/homebrew/Cellar/stigmer/1.0/bin/stigmer");
    let linked = world.path("opt/homebrew/bin");
    std::fs::create_dir_all(&linked).expect("mkdir");
    symlink("../Cellar/stigmer/1.0/bin/stigmer", linked.join("stigmer")).expect("a link");
    let cargo = place("me/.cargo/bin/stigmer");
    std::fs::write(world.path("me/.cargo/.crates.toml"), "\"stigmer 0.1.0 (x)\" = [\"stigmer\"]\n")
        .expect("written");
    let packaged = place("pkg/bin/stigmer");
    std::fs::create_dir_all(world.path("pkg/share/stigmer")).expect("mkdir");
    std::fs::write(world.path("pkg/share/stigmer/stigmer.managed"), "Ask the IT desk.\n").expect("written");
    for (exe, words) in [
        (&brew, ["looked after by Homebrew", "brew update && brew upgrade stigmer"]),
        (&linked.join("stigmer"), ["looked after by Homebrew", "brew update && brew upgrade stigmer"]),
        (&cargo, ["looked after by cargo", "cargo install stigmer"]),
        (&packaged, ["looked after by a packager", "Ask the IT desk."]),
    ] {
        for args in [&["self-update"][..], &["self-update", "--check"], &["self-update", "--rollback"]] {
            run(&mut world.command_at(exe, args)).code(5).says(&words);
        }
        assert_eq!(version_of(&world, exe), OLD);
    }
    assert!(world.host.take_log().is_empty(), "the network was asked");
}

#[test]
fn a_bare_build_says_so() {
    let world = World::new();
    let bare = Path::new(env!("CARGO_BIN_EXE_stigmer"));
    run(&mut world.command_at(bare, &["self-update"])).code(69).says(&["is a bare build", "make build"]);
    assert!(world.host.take_log().is_empty());
}

#[test]
fn a_new_version_that_does_not_work_is_not_installed() {
    for (script, words) in [
        ("echo 'stigmer 9.9.8'", "should say `stigmer 0.9.9`"),
        ("exit 3", "exit status: 3"),
        ("kill -SEGV $$", "signal"),
        ("echo stigmer 0.9.9; [ $1 != bundle ]", "`bundle verify` ended with"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().join("base");
        // A script whose text ends before the bundle begins.
        std::fs::write(&base, format!("#!/bin/sh\n{script}\nexit $?\n")).expect("written");
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).expect("mkdir");
        std::fs::write(
            tree.join("component.json"),
            r#"{"name":"agent-runner","version":"1","entrypoint":"run","self_check":["x"]}"#,
        )
        .expect("written");
        std::fs::write(tree.join("run"), "#!/bin/sh\n").expect("written");
        set_mode(&tree.join("run"), 0o755);
        let carrier = dir.path().join("carrier");
        let mut pack = std::process::Command::new(env!("CARGO_BIN_EXE_stigmer"));
        pack.args(["bundle", "pack", "--component"]).arg(format!("agent-runner={}", tree.display()));
        let packed = pack.arg("--base").arg(&base).arg("--out").arg(&carrier).output().expect("it starts");
        assert!(packed.status.success(), "{packed:?}");
        let (index, code) = described(&carrier, NEW);
        let world = World::with(publish(&[old(), &Release { carrier, index, code }]));
        world.run(&["self-update"]).code(1).says(&["does not work here", words, "nothing was changed"]);
        world.assert_untouched();
        // Nor is it gone back to.
        std::fs::write(world.previous(), format!("#!/bin/sh\n{script}\n")).expect("written");
        set_mode(&world.previous(), 0o755);
        if script != "echo 'stigmer 9.9.8'" {
            world.run(&["self-update", "--rollback"]).code(1).says(&["does not work here"]);
            assert!(same(&world.exe(), &old().carrier));
        }
    }
}

#[test]
fn one_update_at_a_time() {
    let world = World::new();
    let gate = Arc::new(Mutex::new(()));
    let (told, reached) = mpsc::channel();
    let guard = gate.lock().expect("ours");
    let hold = gate.clone();
    world.host.rule(move |request| match request.nth {
        0 if request.is_for_bytes() => Do::Hold(100, told.clone(), hold.clone()),
        _ => Do::Serve,
    });
    world.config("stall_timeout = \"60s\"");
    let first = world.spawn(&["self-update"]);
    reached.recv_timeout(stigmer_test_support::update::LIMIT).expect("the first fetches");
    let second = world.run(&["self-update"]).code(75);
    second.says(&[&format!("process {}", first.id()), "updating", "still held by"]);
    // Of somebody with another home, the file in the making tells.
    let mut other = world.command(&["self-update"]);
    std::fs::create_dir(world.path("home-2")).expect("mkdir");
    std::fs::copy(world.home().join("config.toml"), world.path("home-2/config.toml")).expect("copied");
    run(other.env("STIGMER_HOME", world.path("home-2"))).code(75).says(&["another process is filling"]);
    drop(guard);
    let first = first.wait_with_output().expect("it ends");
    assert!(first.status.success(), "{first:?}");
    world.assert_updated();
}

#[test]
fn a_carrier_brought_by_hand_needs_no_network() {
    let world = World::new();
    let index = &new().index;
    let dir = world.path("stick");
    std::fs::create_dir(&dir).expect("mkdir");
    let carrier = dir.join(&index.carrier.name);
    let name = index.target.index_name(&index.version);
    let file = carrier.to_str().expect("text").to_owned();
    let offline = ["self-update", "--offline", &file];
    std::fs::copy(&new().carrier, &carrier).expect("copied");
    world.run(&offline).code(69).says(&["is not described", ".index.json"]);
    std::fs::write(dir.join(&name), world.host.file(&name)).expect("written");
    world.run(&offline).code(69).says(&["minisig", "put its .index.json and .index.json.minisig beside it"]);
    let signature = format!("{name}.minisig");
    std::fs::write(dir.join(&signature), world.host.file(&signature)).expect("written");
    let whole = std::fs::read(&carrier).expect("read");
    std::fs::write(&carrier, &whole[..whole.len() - 1]).expect("written");
    world.run(&offline).code(65).says(&[&format!(
        "has {} bytes; signed are {}",
        whole.len() - 1,
        whole.len()
    )]);
    let mut wrong = whole.clone();
    wrong[whole.len() / 2] ^= 1;
    std::fs::write(&carrier, &wrong).expect("written");
    world.run(&offline).code(65).says(&["does not match its signed digest"]);
    world.assert_untouched();
    std::fs::write(&carrier, &whole).expect("written");
    world.run(&offline).code(0);
    world.assert_updated();
    assert!(world.host.take_log().is_empty(), "the network was asked");
}

#[test]
fn what_runs_goes_on_and_a_restart_brings_up_the_new_version() {
    let world = World::new();
    let json = |args: &[&str]| world.run(args).code(0).json();
    let started = json(&["server", "start", "--port", "0", "--json"]);
    assert_eq!(started["version"], OLD);
    let updated = world.update(&[]);
    assert_eq!(updated["server_running"], true);
    let status = json(&["server", "status", "--json"]);
    assert_eq!((status["ready"].as_bool(), status["version"].as_str()), (Some(true), Some(OLD)));
    let restarted = json(&["server", "restart", "--json"]);
    assert_eq!(restarted["version"], NEW);
    // Back, while it runs.
    world.run(&["self-update", "--rollback"]).code(0).says(&["stigmer server restart"]);
    assert_eq!(json(&["server", "status", "--json"])["version"], NEW);
    assert_eq!(json(&["server", "restart", "--json"])["version"], OLD);
    world.run(&["server", "stop"]).code(0);
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_fetched() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    let small = world.path("small");
    let size = new().index.carrier.size + old().index.carrier.size;
    mount(&["-t", "tmpfs", "-o", &format!("size={}", size + (8 << 20)), "tmpfs"], &small);
    let exe = small.join("stigmer");
    copy_program(&old().carrier, &exe);
    for free in [0, 1 << 20, 20 << 20] {
        let ballast = small.join("ballast");
        let room = fs2::available_space(&small).expect("asked") - free;
        std::fs::write(&ballast, vec![0; usize::try_from(room).expect("fits")]).expect("room for it");
        world.host.take_log();
        let ran = run(&mut world.command_at(&exe, &["self-update"])).code(74);
        ran.says(&["small", "needs", "is free", "free some space"]);
        let log = world.host.take_log();
        assert!(log.iter().all(|request| !request.is_for_bytes()), "{log:?}");
        assert_eq!(version_of(&world, &exe), OLD);
        let names: Vec<_> =
            std::fs::read_dir(&small).expect("listed").flatten().map(|name| name.file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        std::fs::remove_file(&ballast).expect("removed");
    }
    // Another device than the home, and than the temporary directory.
    run(&mut world.command_at(&exe, &["self-update"])).code(0);
    assert_eq!(version_of(&world, &exe), NEW);
}

#[test]
fn two_updates_at_once_keep_the_way_back() {
    let world = World::new();
    let both = [world.spawn(&["self-update"]), world.spawn(&["self-update"])];
    for child in both {
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{output:?}");
    }
    world.assert_updated();
}
