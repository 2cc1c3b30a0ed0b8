//! `install.sh`: what it installs, what it says, and what it refuses. docs/install.md is what is promised.

use crate::desk::{Desk, which};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use stigmer::update::{Listing, Target, UpdateIndex};
use stigmer_test_support::update::{
    Do, Host, NEW, OLD, Signer, copy_program, new, old, publish, publish_at, run, same, signer,
};

fn host() -> Host {
    Host::new(publish(&[old(), new()]))
}

/// Copies a program that is run then. By a process of its own: one that another test starts meanwhile would have the copy open for writing, and what
/// is written to does not run.
#[track_caller]
fn copied(from: &Path, to: &Path) {
    let _ = std::fs::remove_file(to);
    run(Command::new("cp").arg("-p").arg(from).arg(to)).code(0);
}

/// What checks a signature here: a tool of its own, or openssl.
const CHECKERS: [&str; 2] = ["minisign", "openssl"];

#[test]
fn the_newest_release_comes_into_a_clean_home_checked_by_either_tool() {
    let host = host();
    for checker in CHECKERS {
        let desk = Desk::new();
        let ran = desk.install(&host, &["curl", "sha256sum", checker], &[]).code(0).says(&[
            &format!("installed stigmer {NEW}"),
            &format!("signature  ok (release key, by {checker})"),
            "is not in your PATH",
            "bundle     ok (every file verified)",
        ]);
        assert!(ran.out.is_empty() && !ran.err.contains("NOT CHECKED"), "{ran:?}");
        assert_eq!(desk.files(), [".local/bin/stigmer"], "nothing else is written");
        assert!(same(&desk.exe(), &new().carrier));
        assert_eq!(desk.exe().metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    }
}

#[test]
fn without_a_tool_for_signatures_it_says_what_was_not_checked() {
    let (desk, host) = (Desk::new(), host());
    // wget and shasum in place of what Linux usually has.
    let tools = ["wget", "shasum"];
    desk.install(&host, &tools, &["--require-signature"])
        .code(1)
        .says(&["the signature cannot be checked", "install minisign"]);
    assert_eq!(desk.files(), [""; 0]);
    // shasum is a Perl script and asks env for perl.
    let tools = ["wget", "sha256sum"];
    desk.install(&host, &tools, &["--require-signature"]).code(1);
    desk.install(&host, &tools, &[]).code(0).says(&[
        "note: the signature was not checked: neither minisign nor OpenSSL 3",
        "does not use https",
        "signature  NOT CHECKED",
    ]);
    assert!(same(&desk.exe(), &new().carrier));
    // A script without keys, as it lies in the source.
    let other = Desk::new();
    run(other.installer(&host, &["curl", "sha256sum", "minisign"], &[]).env_remove("STIGMER_RELEASE_KEYS"))
        .code(0)
        .says(&["this script has no release key"]);
}

#[test]
fn what_is_installed_already_is_kept_as_an_update_keeps_it() {
    let (desk, host) = (Desk::new(), host());
    let tools = ["curl", "sha256sum", "minisign"];
    desk.install(&host, &tools, &["--version", OLD]).code(0).says(&[&format!("installed stigmer {OLD}")]);
    assert!(same(&desk.exe(), &old().carrier));
    let ran = desk.install(&host, &tools, &[]).code(0);
    assert!(ran.err.contains("previous   stigmer") && ran.err.contains("stigmer.previous"), "{ran:?}");
    assert_eq!(desk.files(), [".local/bin/stigmer", ".local/bin/stigmer.previous"]);
    run(Command::new(desk.exe()).args(["self-update", "--rollback"]).env("HOME", desk.path("home"))).code(0);
    assert!(same(&desk.exe(), &old().carrier));

    // A link of the person's own stays, and what it leads to is replaced.
    let linked = desk.path("a link/stigmer");
    std::fs::create_dir(linked.parent().unwrap()).unwrap();
    symlink("../home/.local/bin/stigmer", &linked).unwrap();
    desk.install(&host, &tools, &["--dir", "a link", &format!("--version=v{NEW}")]).code(0);
    assert!(linked.is_symlink() && same(&desk.exe(), &new().carrier));
}

#[test]
fn in_path_it_says_what_is_next_and_whether_another_one_comes_first() {
    let (desk, host) = (Desk::new(), host());
    let tools = desk.tools(&["curl", "sha256sum", "minisign"]);
    let bin = desk.path("own bin");
    let install = |path: &[&Path]| {
        let mut command = desk.installer(&host, &["curl", "sha256sum", "minisign"], &["--dir", "own bin"]);
        command.env("PATH", std::env::join_paths(path).unwrap());
        run(&mut command).code(0)
    };
    let ran = install(&[&tools, &bin]);
    assert!(ran.err.contains("next: stigmer server") && !ran.err.contains("another one"), "{ran:?}");
    let first = desk.path("first");
    std::fs::create_dir(&first).unwrap();
    copy_program(&which("true"), &first.join("stigmer"));
    let ran = install(&[&first, &tools, &bin]);
    assert!(ran.err.contains("is another one") && ran.err.contains("first/stigmer"), "{ran:?}");
    // What is typed without its directory would be the other one.
    let whole = format!("next: {} server\n", bin.join("stigmer").display());
    assert!(ran.err.contains(&whole) && ran.err.contains("hash -r"), "{ran:?}");
    // The new one comes first, and a shell may remember the one that did until now.
    std::fs::remove_file(bin.join("stigmer")).unwrap();
    let ran = install(&[&bin, &first, &tools]);
    assert!(ran.err.contains("next: stigmer server\n") && !ran.err.contains("is another one"), "{ran:?}");
    assert!(ran.err.contains("hash -r") && ran.err.contains("first/stigmer"), "{ran:?}");
    // In PATH by another name, which is the same directory.
    symlink(&bin, desk.path("linked")).unwrap();
    let ran = install(&[&desk.path("linked"), &tools]);
    assert!(ran.err.contains("next: stigmer server\n") && !ran.err.contains("note:"), "{ran:?}");
}

#[test]
fn one_that_somebody_looks_after_elsewhere_in_path_is_named() {
    let host = host();
    let tools = ["curl", "sha256sum", "minisign"];
    let install = |desk: &Desk, other: &Path, args: &[&str]| {
        let mut command = desk.installer(&host, &tools, args);
        let path = [other.to_owned(), desk.tools(&tools)];
        run(command.env("PATH", std::env::join_paths(path).unwrap())).code(0)
    };
    let other = |desk: &Desk, place: &str| {
        let dir = desk.path(place);
        std::fs::create_dir_all(&dir).unwrap();
        copy_program(&old().carrier, &dir.join("stigmer"));
        dir
    };
    let desk = Desk::new();
    let bin = desk.path("brew/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let cellar = other(&desk, "brew/Cellar/stigmer/0.1.0/bin");
    symlink("../Cellar/stigmer/0.1.0/bin/stigmer", bin.join("stigmer")).unwrap();
    let said = format!("another stigmer already: `{}/stigmer` was installed by Homebrew", cellar.display());
    install(&desk, &bin, &[]).says(&[&said, "brew upgrade stigmer", "comes beside it"]);
    assert!(same(&desk.exe(), &new().carrier));
    // Who says where has said that there are to be two.
    let ran = install(&desk, &bin, &["--dir", "own"]);
    assert!(!ran.err.contains("Homebrew"), "{ran:?}");

    let desk = Desk::new();
    let bin = other(&desk, "opt/bin");
    std::fs::write(bin.join("stigmer.managed"), "run our-tool\n").unwrap();
    install(&desk, &bin, &[]).says(&["by a packager, who says: run our-tool", "do what the packager says"]);
    // Nobody's.
    std::fs::remove_file(bin.join("stigmer.managed")).unwrap();
    let ran = install(&desk, &bin, &[]);
    assert!(!ran.err.contains("another stigmer already"), "{ran:?}");
}

#[test]
fn a_damaged_one_is_replaced_and_never_kept() {
    let (desk, host) = (Desk::new(), host());
    let tools = ["curl", "sha256sum", "minisign"];
    let previous = desk.path("home/.local/bin/stigmer.previous");
    desk.install(&host, &tools, &["--version", OLD]).code(0);
    desk.install(&host, &tools, &[]).code(0);
    assert!(same(&previous, &old().carrier));
    // The same once more.
    desk.install(&host, &tools, &[]).code(0).says(&["previous   the same bytes"]);
    assert!(same(&previous, &old().carrier), "there is nothing new to go back to");

    let whole = std::fs::read(&new().carrier).unwrap();
    let (begin, rest) = (&whole[..whole.len() / 10], whole.len() - 1000);
    let mut mach = b"\xcf\xfa\xed\xfe".to_vec();
    mach.extend([1; 4000]);
    let damaged: [(&str, &[u8], u32, &str); 5] = [
        ("nothing", b"", 0o755, "(it does not run)"),
        ("its beginning", begin, 0o755, "(it does not run)"),
        ("a program that must not run", &whole, 0o644, "(it does not run)"),
        ("another system's", &mach, 0o644, "(it does not run)"),
        ("all but its end", &whole[..rest], 0o755, "(it does not pass its own check"),
    ];
    for (what, bytes, mode, words) in damaged {
        let made = desk.path("made");
        std::fs::write(&made, bytes).unwrap();
        std::fs::set_permissions(&made, PermissionsExt::from_mode(mode)).unwrap();
        copied(&made, &desk.exe());
        let ran = desk.install(&host, &tools, &[]);
        assert!(ran.code == Some(0) && ran.err.contains(words), "{what}: {ran:#?}");
        assert!(ran.err.contains("was damaged") && !ran.err.contains("previous   "), "{what}: {ran:#?}");
        // No shell has a word of its own about it: `Segmentation fault`.
        assert!(ran.err.starts_with("fetching stigmer"), "{what}: {ran:#?}");
        assert!(same(&desk.exe(), &new().carrier) && same(&previous, &old().carrier), "{what}");
    }
    // What runs, and a script, are somebody's: also if they end as badly.
    for script in ["#!/bin/sh\nexit 139\n", "not even a program\n"] {
        std::fs::write(desk.exe(), script).unwrap();
        desk.install(&host, &tools, &[]).code(1).says(&["is there already, and is no stigmer"]);
        assert_eq!(std::fs::read(desk.exe()).unwrap(), script.as_bytes());
    }
    copied(&which("false"), &desk.exe());
    desk.install(&host, &tools, &[]).code(1).says(&["is there already, and is no stigmer"]);
}

#[test]
fn a_home_that_no_shell_wrote_out_is_understood() {
    let (desk, host) = (Desk::new(), host());
    let tools = ["curl", "sha256sum", "minisign"];
    desk.install(&host, &tools, &["--dir=~/own bin"]).code(0);
    assert_eq!(desk.files(), ["own bin/stigmer"]);
    assert!(!desk.path("~").exists());
    desk.install(&host, &tools, &["--dir=~somebody/bin"]).code(2).says(&["`~somebody/bin`", "write it out"]);
    assert!(!desk.path("~somebody").exists());
}

#[test]
fn a_directory_that_was_made_for_nothing_is_gone_again() {
    let host = host();
    host.rule(|_| Do::Status(503, ""));
    let tools = ["wget", "sha256sum", "rmdir"];
    let desk = Desk::new();
    let home = || std::fs::read_dir(desk.path("home")).unwrap().count();
    desk.install(&host, &tools, &[]).code(1).says(&["could not be fetched"]);
    assert_eq!(home(), 0);
    // What was there before stays, though it is empty.
    std::fs::create_dir(desk.path("home/.local")).unwrap();
    desk.install(&host, &tools, &[]).code(1);
    assert!(desk.path("home/.local").read_dir().unwrap().next().is_none());
    desk.install(&host, &tools, &["--dir", "~/.local"]).code(1);
    assert_eq!(home(), 1);
}

#[test]
fn whatever_fetches_says_why_it_could_not() {
    let (desk, host) = (Desk::new(), host());
    for fetcher in ["curl", "wget"] {
        let tools = [fetcher, "sha256sum", "minisign"];
        let mut command = desk.installer(&host, &tools, &["--dir", fetcher]);
        let ran = run(command.env("STIGMER_RELEASES_URL", "http://127.0.0.1:1")).code(1);
        let (above, _) = ran.err.split_once("install.sh:").expect("what it says itself");
        assert!(above.contains("127.0.0.1"), "{ran:?}");
        // And nothing at all if it could.
        let ran = desk.install(&host, &tools, &["--dir", fetcher]).code(0);
        assert!(ran.err.starts_with("fetching stigmer") && ran.err.lines().count() < 10, "{ran:?}");
    }
}

/// What was done, the exit code it comes to, what is said then, and how it is done.
type Tampered = (&'static str, i32, &'static str, Box<dyn Fn(&Host)>);

/// As the listing on GitHub has them.
#[test]
fn an_address_may_be_of_another_host() {
    let (desk, host) = (Desk::new(), host());
    let elsewhere = Host::new(publish(&[new()]));
    let listing = String::from_utf8(host.file("releases.json")).unwrap();
    let listing =
        listing.replace(&format!("\"{NEW}/"), &format!("\"{}/{NEW}/", elsewhere.url())).into_bytes();
    let signature = signer().sign(&listing, &Listing::purpose());
    host.change("releases.json.minisig", |bytes| *bytes = signature);
    host.change("releases.json", |bytes| *bytes = listing);
    desk.install(&host, &["curl", "sha256sum", "minisign"], &[]).code(0).says(&[&elsewhere.url()]);
    assert!(same(&desk.exe(), &new().carrier));
    assert_eq!(host.take_log().len(), 2, "the listing and its signature");
}

#[test]
fn bytes_that_were_not_published_are_not_installed() {
    let carrier = format!("stigmer-{NEW}-{}", Target::own().unwrap());
    let foreign = Signer::new();
    let index = new().index.to_bytes();
    let purpose = UpdateIndex::purpose(&new().index.version, new().index.target);
    let tampered: [Tampered; 8] = [
        ("a byte of the carrier", 65, "is not what was published", {
            let carrier = carrier.clone();
            Box::new(move |host: &Host| host.change(&carrier, |bytes| bytes[1000] ^= 1))
        }),
        ("the carrier cut short", 65, "is not what was published", {
            let carrier = carrier.clone();
            Box::new(move |host: &Host| host.change(&carrier, |bytes| bytes.truncate(5000)))
        }),
        (
            "a digest in the listing",
            65,
            "is not one of stigmer's release keys",
            Box::new(|host: &Host| {
                host.change("releases.json", |bytes| {
                    let at = bytes.windows(7).position(|w| w == b"sha256:").expect("a digest") + 7;
                    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
                });
            }),
        ),
        ("the listing signed by somebody", 65, "is not one of stigmer's release keys", {
            let files = publish_at(&[new()], "2026-03-01T12:00:00Z", &foreign);
            Box::new(move |host: &Host| host.replace(files.clone()))
        }),
        (
            "what the signature says of itself",
            65,
            "is not one of stigmer's release keys",
            Box::new(|host: &Host| {
                host.change("releases.json.minisig", |bytes| {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    *bytes = text.replace("stigmer listing", "stigmer Listing").into_bytes();
                });
            }),
        ),
        ("an index in the place of the listing", 65, "was made for another document", {
            Box::new(move |host: &Host| {
                host.change("releases.json.minisig", |bytes| *bytes = signer().sign(&index, &purpose));
                host.change("releases.json", |bytes| bytes.clone_from(&index));
            })
        }),
        (
            "no signature",
            1,
            "releases.json.minisig could not be fetched",
            Box::new(|host: &Host| {
                host.remove("releases.json.minisig");
            }),
        ),
        ("no carrier", 1, "could not be fetched", Box::new(move |host: &Host| host.remove(&carrier))),
    ];
    for (what, code, words, tamper) in tampered {
        for checker in CHECKERS {
            let (desk, host) = (Desk::new(), host());
            tamper(&host);
            let ran = desk.install(&host, &["curl", "sha256sum", checker], &[]);
            assert!(ran.code == Some(code) && ran.err.contains(words), "{what}, {checker}: {ran:#?}");
            assert_eq!(desk.files(), [""; 0], "{what}: nothing is left");
        }
    }
}

#[test]
fn an_interrupted_download_is_resumed_where_it_broke() {
    for fetcher in ["curl", "wget"] {
        let (desk, host) = (Desk::new(), host());
        host.rule(|request| match request.nth {
            0 if request.is_for_bytes() => Do::Cut(10_000),
            _ => Do::Serve,
        });
        let ran = desk.install(&host, &[fetcher, "sha256sum", "minisign"], &[]).code(0);
        assert!(ran.err.contains("resuming (attempt 2 of 5)"), "{fetcher}: {ran:?}");
        let starts: Vec<_> = host
            .take_log()
            .iter()
            .filter(|request| request.is_for_bytes())
            .map(|request| request.range.as_ref().map_or(0, |range| range.start))
            .collect();
        assert_eq!(starts, [0, 10_000], "{fetcher}");
        assert!(same(&desk.exe(), &new().carrier));
    }
}

#[test]
fn a_host_without_ranges_is_asked_for_the_whole_file_again() {
    for fetcher in ["curl", "wget"] {
        let (desk, host) = (Desk::new(), host());
        host.rule(|request| match request.nth {
            0 if request.is_for_bytes() => Do::Cut(10_000),
            _ => Do::Whole,
        });
        desk.install(&host, &[fetcher, "sha256sum", "minisign"], &[]).code(0);
        assert!(same(&desk.exe(), &new().carrier), "{fetcher}");
    }
}

#[test]
fn the_directory_of_a_killed_installer_is_removed_and_that_of_a_running_one_is_kept() {
    let (desk, host) = (Desk::new(), host());
    let bin = desk.path("home/.local/bin");
    // An id that no process can have, and that of this test.
    let (dead, alive) =
        (bin.join(".stigmer-install-4194305-abcdef"), format!(".stigmer-install-{}-x", std::process::id()));
    for dir in [&dead, &bin.join(&alive)] {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("stigmer"), "half").unwrap();
    }
    desk.install(&host, &["curl", "sha256sum", "minisign"], &[]).code(0);
    assert_eq!(desk.files(), [format!(".local/bin/{alive}/stigmer"), ".local/bin/stigmer".to_owned()]);
}

#[test]
fn zsh_runs_it_as_sh_does() {
    let (desk, host) = (Desk::new(), host());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    let command = desk.installer(&host, &["curl", "sha256sum", "minisign"], &[]);
    let mut piped = Command::new(which("zsh"));
    piped.env_clear().current_dir(desk.root()).stdin(std::fs::File::open(script).unwrap());
    for (name, value) in command.get_envs() {
        piped.env(name, value.expect("a value"));
    }
    run(&mut piped).code(0).says(&["signature  ok (release key, by minisign)"]);
    assert!(same(&desk.exe(), &new().carrier));
}

#[test]
fn a_connection_that_breaks_leaves_what_is_installed() {
    let (desk, host) = (Desk::new(), host());
    let tools = ["curl", "sha256sum", "minisign"];
    desk.install(&host, &tools, &["--version", OLD]).code(0);
    host.rule(|request| if request.is_for_bytes() { Do::Cut(10_000) } else { Do::Serve });
    desk.install(&host, &tools, &[]).code(1).says(&["could not be fetched"]);
    host.rule(|_| Do::Status(503, ""));
    desk.install(&host, &["wget", "sha256sum"], &[]).code(1).says(&["could not be fetched"]);
    assert_eq!(desk.files(), [".local/bin/stigmer"]);
    assert!(same(&desk.exe(), &old().carrier));
}

#[test]
fn what_others_look_after_is_left_to_them() {
    let host = host();
    let tools = ["curl", "sha256sum", "minisign"];
    let refused = |desk: &Desk, code: i32, words: &[&str]| {
        let before = desk.files();
        desk.install(&host, &tools, &[]).code(code).says(words);
        assert_eq!(desk.files(), before);
        assert!(host.take_log().is_empty(), "it is known before anything is asked");
    };
    let prepare = |place: &str| {
        let desk = Desk::new();
        let bin = desk.exe().parent().unwrap().to_owned();
        std::fs::create_dir_all(&bin).unwrap();
        let place = desk.path("home").join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        copy_program(&old().carrier, &place);
        if place != desk.exe() {
            symlink(&place, desk.exe()).unwrap();
        }
        desk
    };
    let desk = prepare("brew/Cellar/stigmer/0.1.0/bin/stigmer");
    refused(&desk, 5, &["installed by Homebrew", "brew upgrade stigmer"]);
    let desk = prepare(".local/share/mise/installs/stigmer/0.1.0/stigmer");
    refused(&desk, 5, &["installed by a package manager"]);
    let desk = prepare(".local/bin/stigmer");
    std::fs::create_dir_all(desk.path("home/.local/share/stigmer")).unwrap();
    std::fs::write(desk.path("home/.local/share/stigmer/stigmer.managed"), "run our-tool\u{1b}[2J\n")
        .unwrap();
    refused(
        &desk,
        5,
        &[
            "a packager, who says: run our-tool[2J\n",
            "hint: do what the packager says; or install elsewhere with --dir",
        ],
    );
    let desk = prepare(".local/bin/stigmer");
    std::fs::write(desk.path("home/.local/.crates.toml"), "\"stigmer 1.0.0 (x)\" = [\"stigmer\"]\n").unwrap();
    refused(&desk, 5, &["installed by cargo"]);

    let desk = prepare(".local/bin/other");
    std::fs::remove_file(desk.exe()).unwrap();
    copied(&which("true"), &desk.exe());
    refused(&desk, 1, &["is there already, and is no stigmer"]);
    let desk = Desk::new();
    std::fs::write(desk.path("home/.local"), "").unwrap();
    refused(&desk, 1, &["cannot be made", "never asks for root"]);
}

#[test]
fn what_it_does_not_understand_or_find_it_says() {
    let (desk, host) = (Desk::new(), host());
    let tools = ["curl", "sha256sum", "minisign"];
    let ran = desk.install(&host, &tools, &["--help"]).code(0);
    assert!(ran.out.contains("--require-signature") && ran.err.is_empty(), "{ran:?}");
    desk.install(&host, &tools, &["--verison", "1"]).code(2).says(&["`--verison` is not understood"]);
    desk.install(&host, &tools, &["--version"]).code(2).says(&["--version needs a value"]);
    desk.install(&host, &tools, &["--version", "7.7.7"]).code(1).says(&["has no 7.7.7 for", "releases.json"]);
    desk.install(&host, &["sha256sum"], &[]).code(1).says(&["neither curl nor wget was found"]);
    desk.install(&host, &["curl", "minisign"], &[]).code(1).says(&["nothing here computes SHA-256"]);
    run(desk.installer(&host, &tools, &[]).env("STIGMER_RELEASES_URL", "ftp://host"))
        .code(2)
        .says(&["is no place to fetch releases from"]);
    // Machines that nothing is made for: what `uname` says there.
    for (said, words) in [
        ("FreeBSD amd64", "no releases for FreeBSD"),
        ("Linux riscv64", "no releases for linux on riscv64"),
        ("MINGW64_NT x86_64", "is for Linux and macOS"),
    ] {
        let odd = desk.path(said);
        std::fs::create_dir(&odd).unwrap();
        let (system, machine) = said.split_once(' ').unwrap();
        let script = format!("#!/bin/sh\n[ \"$1\" = -s ] && echo {system} || echo {machine}\n");
        std::fs::write(odd.join("uname"), script).unwrap();
        std::fs::set_permissions(odd.join("uname"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([odd, desk.tools(&tools)]).unwrap();
        run(desk.installer(&host, &tools, &[]).env("PATH", path)).code(1).says(&[words]);
    }
    assert_eq!(desk.files(), [""; 0]);
}

#[test]
fn a_script_that_was_cut_off_on_its_way_does_nothing() {
    let (desk, host) = (Desk::new(), host());
    let whole = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh")).unwrap();
    let tools = ["curl", "sha256sum", "minisign"];
    let last: Vec<usize> = (whole.len() - 20..whole.len() - 1).collect();
    for cut in (500..whole.len() - 20).step_by(997).chain(last) {
        std::fs::write(desk.path("cut.sh"), &whole[..cut]).unwrap();
        let ran = run(&mut desk.script(&desk.path("cut.sh"), &host, &tools, &[]));
        assert!(desk.files().is_empty() && host.take_log().is_empty(), "cut off at {cut}: {ran:?}");
    }
}
