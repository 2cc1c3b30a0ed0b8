//! The keys that sign: made once, kept by their owner, understood by the public tool, replaced in order.

use super::*;

#[test]
fn a_secret_key_is_its_owners_alone_and_never_overwritten() {
    let desk = Desk::new();
    let mode = |name: &str| std::fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key"), mode("key.pub")), (0o600, 0o644));
    let before = std::fs::read(desk.path("key")).unwrap();
    desk.run(&["bundle", "keygen", "--no-password", "--out", "key"])
        .fails(74, "it exists, and no key is overwritten");
    std::fs::remove_file(desk.path("key.pub")).unwrap();
    desk.run(&["bundle", "keygen", "--no-password", "--out", "key"])
        .fails(74, "it exists, and no key is overwritten");
    assert_eq!(std::fs::read(desk.path("key")).unwrap(), before);
    assert!(!desk.path("key.pub").exists(), "what was made for nothing is taken away");

    std::fs::set_permissions(desk.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(desk.path("base"), b"x").unwrap();
    desk.run(&["bundle", "sign", "base", "--key", "key"]).fails(78, "other users can read the secret key");
    std::fs::write(desk.path("noise"), b"untrusted comment: x\nnoise\n").unwrap();
    std::fs::set_permissions(desk.path("noise"), std::fs::Permissions::from_mode(0o600)).unwrap();
    desk.run(&["bundle", "sign", "base", "--key", "noise"]).fails(78, "is not a secret key of minisign");
}

#[test]
fn a_password_comes_from_a_file_where_there_is_no_terminal() {
    let desk = Desk::new();
    std::fs::write(desk.path("password"), "correct horse\n").unwrap();
    std::fs::write(desk.path("wrong"), "battery\n").unwrap();
    std::fs::write(desk.path("base"), b"x").unwrap();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(desk.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("password", 0o644);
    mode("wrong", 0o600);
    let with = |file: Option<&str>, args: &[&str]| {
        let mut command = desk.command(env!("CARGO_BIN_EXE_stigmer"));
        if let Some(file) = file {
            command.env("STIGMER_KEY_PASSWORD_FILE", file);
        }
        ran(command.args(args))
    };
    let keygen = ["bundle", "keygen", "--out", "locked"];
    with(None, &keygen).fails_plainly(74, "there is no terminal to ask on");
    with(Some("password"), &keygen)
        .fails_plainly(77, "the password in `password` can be read by other users");
    assert!(!desk.path("locked").exists());
    mode("password", 0o600);
    with(Some("password"), &keygen).ok();
    let sign = ["bundle", "sign", "base", "--key", "locked"];
    with(None, &sign).fails_plainly(74, "there is no terminal to ask on");
    with(Some("wrong"), &sign).fails(78, "the password does not open the secret key");
    let signed = with(Some("password"), &sign).ok();
    let said = [signed.out, signed.err].concat();
    assert!(!said.contains("horse"), "{said}");
    desk.run(&["bundle", "verify", "base", "--public-key", "locked.pub"]).ok();
    // The public tool opens the same key with the same password, which it reads from standard input where there is no terminal.
    let mut theirs = desk.command("minisign");
    theirs.args(["-S", "-s", "locked", "-m", "base", "-t", "by minisign"]);
    theirs.stdin(std::fs::File::open(desk.path("password")).unwrap());
    ran(&mut theirs).ok();
    let ours = desk.run(&["bundle", "verify", "base", "--public-key", "locked.pub"]).ok();
    assert!(ours.out.contains("signed as \"by minisign\""), "{ours:?}");
}

/// The public tool of minisign checks what we sign, and we check what it signs.
#[test]
fn minisign_and_we_agree() {
    let desk = Desk::new();
    let minisign = |args: &[&str]| {
        let mut command = desk.command("minisign");
        match command.args(args).output() {
            Ok(output) => Ran {
                code: output.status.code(),
                out: String::from_utf8_lossy(&output.stdout).into_owned(),
                err: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            Err(error) => panic!("this test needs `minisign`: install the package minisign ({error})"),
        }
    };
    std::fs::write(desk.path("file"), b"some bytes").unwrap();
    desk.run(&["bundle", "sign", "file", "--key", "key"]).ok();
    let key = desk.keys().iter().next().unwrap().as_str().to_owned();
    let theirs = minisign(&["-Vm", "file", "-P", &key]).ok();
    assert!(theirs.out.contains("Trusted comment: file:file"), "{theirs:?}");
    minisign(&["-Vm", "file", "-p", "key.pub"]).ok();
    std::fs::write(desk.path("file"), b"other bytes").unwrap();
    assert_ne!(minisign(&["-Vm", "file", "-P", &key]).code, Some(0));
    desk.run(&["bundle", "verify", "file", "--public-key", &key]).fails(65, "is not of these bytes");

    // Our secret key signs in their tool, and theirs in ours.
    minisign(&["-S", "-s", "key", "-m", "file", "-t", "by minisign"]).ok();
    let ours = desk.run(&["bundle", "verify", "file", "--public-key", "key.pub"]).ok();
    assert!(ours.out.contains("signed as \"by minisign\""), "{ours:?}");
    minisign(&["-G", "-W", "-s", "theirs", "-p", "theirs.pub"]).ok();
    desk.run(&["bundle", "sign", "file", "--key", "theirs"]).ok();
    minisign(&["-Vm", "file", "-p", "theirs.pub"]).ok();
    desk.run(&["bundle", "verify", "file", "--public-key", "theirs.pub"]).ok();
    desk.run(&["bundle", "verify", "file", "--public-key", "key.pub"])
        .fails(65, "which this stigmer does not trust");
    // A signature of the old kind, which does not hash the file first, is none.
    minisign(&["-S", "-l", "-s", "theirs", "-m", "file"]).ok();
    desk.run(&["bundle", "verify", "file", "--public-key", "theirs.pub"]).fails(65, "it is of the old kind");

    // Every document of a release.
    let one = desk.carrier("one", "1.0.0", LINUX);
    desk.publish(&[&one], &[]).ok();
    for (name, purpose) in [
        ("out/releases.json", "stigmer listing"),
        ("out/1.0.0/SHA256SUMS", "stigmer 1.0.0 checksums"),
        ("out/1.0.0/linux-amd64/stigmer-1.0.0-linux-amd64.index.json", "stigmer 1.0.0 linux-amd64 index"),
    ] {
        let ran = minisign(&["-Vm", name, "-P", &key]).ok();
        assert!(ran.out.contains(&format!("Trusted comment: {purpose}\n")), "{ran:?}");
    }
}

/// Real builds of this program, with the keys that each of them trusts: the change of a key, as people live through it.
#[test]
fn a_new_key_reaches_those_who_trust_both() {
    let dir = releases();
    let run = |version: &str, args: &[&str]| {
        let home = tempfile::tempdir().expect("a temporary directory");
        ran(Command::new(dir.join(version)).args(args).current_dir(dir).env("STIGMER_HOME", home.path()))
    };
    for version in ["0.9.1", "0.9.2", "0.9.3"] {
        let said = run(version, &["--version"]).ok();
        assert!(said.out.starts_with(&format!("stigmer {version} (0123456789ab ")), "{said:?}");
    }
    let verify = |host: &str| {
        ["bundle".to_owned(), "verify".into(), format!("{host}/releases.json"), "--signature".into()]
    };
    let check = |version: &str, host: &str| {
        let args = verify(host);
        run(version, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // The first knows the old key alone, the second both, the third the new one alone.
    check("0.9.1", "site").ok();
    check("0.9.2", "site").ok();
    check("0.9.3", "site").fails(65, "which this stigmer does not trust");
    check("0.9.1", "rotated").fails(65, "which this stigmer does not trust");
    check("0.9.2", "rotated").ok();
    check("0.9.3", "rotated").ok();
    let both = TrustedKeys::parse(&format!(
        "{}{}",
        std::fs::read_to_string(dir.join("keys/old.key.pub")).unwrap(),
        std::fs::read_to_string(dir.join("keys/new.key.pub")).unwrap()
    ))
    .unwrap();
    let listing = listing(&dir.join("rotated"), &both).unwrap();
    assert_eq!(
        listing.releases.iter().map(|r| r.version.to_string()).collect::<Vec<_>>(),
        ["0.9.3", "0.9.2", "0.9.1"]
    );
}
