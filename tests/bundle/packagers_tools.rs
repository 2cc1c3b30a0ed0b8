//! A carrier survives what packagers do to executables: the real tools, on the real executable.

use crate::fixtures::{listing, pack, run, scratch, stigmer, verify};
use crate::images;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use stigmer::bundle::Carrier;

/// The tool with its arguments, and the Debian package it comes from.
const TOOLS: &[(&str, &[&str], &str)] = &[
    ("strip", &[], "binutils"),
    ("strip", &["--strip-all"], "binutils"),
    ("strip", &["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note"], "binutils"),
    ("eu-strip", &[], "elfutils"),
    ("eu-strip", &["--remove-comment"], "elfutils"),
    ("objcopy", &[], "binutils"),
    ("objcopy", &["--strip-debug"], "binutils"),
    ("patchelf", &["--set-rpath", "/opt/somewhere/with/a/long/name/lib"], "patchelf"),
];

/// Runs a tool on `file`. A missing tool is a failure: a test that does not run proves nothing.
fn apply(tool: &str, args: &[&str], package: &str, file: &Path) {
    let output = match Command::new(tool).args(args).arg(file).output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            panic!("`{tool}` is not installed: this test needs the Debian package `{package}`")
        }
        other => other.expect("the tool can be started"),
    };
    assert!(
        output.status.success(),
        "`{tool} {}` failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn check(carrier: &Path, expected: &[(String, String)], after: &str) {
    let (code, said) = verify(carrier);
    assert_eq!(code, 8, "after {after}: the code part changed and nothing else did: {said}");
    assert!(said.contains("bundle intact"), "after {after}: {said}");
    // It still runs, and finds its own bundle.
    let output = run(carrier, &["bundle", "inspect", "--json"]);
    assert!(output.status.success(), "after {after}: it does not run any more");
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""code":{"size":"#), "after {after}");
    let dir = scratch();
    let to = dir.path().join("out");
    let output =
        run(carrier, &["bundle", "extract", "--component", "hello", "--to", to.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "after {after}: {output:?}");
    assert_eq!(listing(&to), expected, "after {after}");
}

#[test]
fn every_tool_of_the_packagers_leaves_the_bundle_whole() {
    let dir = scratch();
    let base = std::fs::read(env!("CARGO_BIN_EXE_stigmer")).expect("the executable");
    let carrier = pack(dir.path(), &base);
    assert_eq!(verify(&carrier).0, 0);
    let expected = listing(&dir.path().join("tree"));
    let copy = dir.path().join("copy");
    for (tool, args, package) in TOOLS {
        std::fs::copy(&carrier, &copy).expect("a copy");
        apply(tool, args, package, &copy);
        check(&copy, &expected, &format!("{tool} {}", args.join(" ")));
    }
    // The interpreter, to another name of the same file, which is longer.
    std::fs::copy(&carrier, &copy).expect("a copy");
    let output = Command::new("patchelf").arg("--print-interpreter").arg(&copy).output();
    let interpreter = String::from_utf8(output.expect("patchelf is installed").stdout).expect("UTF-8");
    let interpreter = format!("//./././././././././././././{}", interpreter.trim());
    apply("patchelf", &["--set-interpreter", &interpreter], "patchelf", &copy);
    check(&copy, &expected, "patchelf --set-interpreter");
    // One after the other, as a distribution does it.
    apply("patchelf", &["--set-rpath", "/opt/lib"], "patchelf", &copy);
    apply("strip", &[], "binutils", &copy);
    check(&copy, &expected, "patchelf, patchelf and strip");
}

#[test]
fn what_the_tools_leave_is_no_base_for_another_bundle() {
    let dir = scratch();
    let base = std::fs::read(env!("CARGO_BIN_EXE_stigmer")).expect("the executable");
    let carrier = pack(dir.path(), &base);
    apply("strip", &[], "binutils", &carrier);
    let tree = format!("hello={}", dir.path().join("tree").display());
    let out = dir.path().join("out");
    let output = stigmer(&[
        "bundle",
        "pack",
        "--base",
        carrier.to_str().expect("UTF-8"),
        "--component",
        &tree,
        "--out",
        out.to_str().expect("UTF-8"),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("carries a bundle already"));
    assert!(!out.exists());
}

/// Runs a program that is not given the file last, and returns whether it succeeded and what it said.
fn tool(program: &str, package: &str, args: &[&str]) -> (bool, String) {
    let output = match Command::new(program).args(args).output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            panic!("`{program}` is not installed: this test needs the Debian package `{package}`")
        }
        other => other.expect("the tool can be started"),
    };
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn authenticode_comes_after_packing_and_covers_the_bundle() {
    let dir = scratch();
    let carrier = pack(dir.path(), &images::pe());
    let range = Carrier::open(&carrier).expect("a carrier").range();
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let (key, certificate, signed) = (path("key.pem"), path("certificate.pem"), path("signed.exe"));
    let (done, said) = tool(
        "openssl",
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "extendedKeyUsage=codeSigning",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
    );
    assert!(done, "{said}");
    let (done, said) = tool(
        "osslsigncode",
        "osslsigncode",
        &[
            "sign",
            "-h",
            "sha256",
            "-certs",
            &certificate,
            "-key",
            &key,
            "-in",
            carrier.to_str().expect("UTF-8"),
            "-out",
            &signed,
        ],
    );
    assert!(done, "{said}");
    let verified =
        |file: &str| tool("osslsigncode", "osslsigncode", &["verify", "-CAfile", &certificate, "-in", file]);
    let (holds, said) = verified(&signed);
    assert!(holds, "{said}");
    // The bundle is where it was, and whole.
    let opened = Carrier::open(Path::new(&signed)).expect("a carrier");
    assert_eq!(opened.range(), range);
    assert!(opened.bytes().len() as u64 > range.end, "the signature follows");
    let (code, said) = verify(Path::new(&signed));
    assert_eq!(code, 0, "{said}");
    let component = opened.component("hello").expect("the component");
    opened.extract(&component, &dir.path().join("out")).expect("extraction");
    assert_eq!(listing(&dir.path().join("out")), listing(&dir.path().join("tree")));
    // Whoever changes the bundle breaks the signature.
    let mut changed = opened.bytes().to_vec();
    changed[usize::try_from(u64::midpoint(range.start, range.end)).expect("small")] ^= 1;
    std::fs::write(path("changed.exe"), changed).expect("written");
    assert!(!verified(&path("changed.exe")).0, "a changed bundle passes for signed");
}
