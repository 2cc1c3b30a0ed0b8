//! Warm `exec`: what it costs to go through a carrier of full size instead of starting the program itself.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::http::{Answer, Server};
use crate::measure::{Contestant, take_turns, time};
use crate::{Context, Outcome};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use stigmer::bundle::Digest;

/// How many bytes of noise make the carrier as large as a real one.
const BALLAST: usize = 28 << 20;

const METHOD: &str = "A static program that does nothing, started and waited for (`posix_spawn`, `waitid`) from one process: by itself, by `stigmer exec` \
    from a carrier of full size that holds it (and random ballast) and has it materialized, and by `dotslash` with its cache filled. The bar is about \
    the difference to the program by itself.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let program = compile(context)?;
    let carrier = carrier(context, &program)?;
    let home = context.scratch.empty("exec-home")?;
    time(Command::new(&carrier).args(["cache", "warm"]).env("STIGMER_HOME", &home))?;
    let cache = context.scratch.empty("exec-dotslash-cache")?;
    let dotslash = context.peer("dotslash");
    let launcher =
        dotslash.as_deref().map(|dotslash| fill(context, dotslash, &program, &cache)).transpose()?;

    // All get the same environment, so that it costs all the same.
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.env("STIGMER_HOME", &home).env("DOTSLASH_CACHE", &cache);
        command
    };
    let mut contestants = vec![
        Contestant::new("stigmer exec", || time(command(&carrier).args(["exec", "true-component"]))),
        Contestant::new("the program itself", || time(&mut command(&program))),
    ];
    if let (Some(dotslash), Some(launcher)) = (&dotslash, launcher) {
        contestants.push(Contestant::new("dotslash", move || time(command(dotslash).arg(&launcher))));
    }
    let samples = take_turns(context.rounds(2000), contestants)?;
    let (ours, bare) = (samples[0].median(), samples[1].median());
    let mut rows = vec![Row::against(
        "warm exec",
        Unit::Milliseconds,
        ours,
        ("the program itself", bare),
        Bar::OverAtMost(0.30),
    )];
    let mut missing = vec!["scie-jump: not in a package registry".to_owned()];
    match samples.get(2).map(crate::measure::Samples::median) {
        Some(dotslash) => rows.extend([
            Row::against("warm exec", Unit::Milliseconds, ours, ("dotslash", dotslash), Bar::Reported),
            Row::against(
                "warm exec, beyond the program itself",
                Unit::Milliseconds,
                ours - bare,
                ("dotslash", dotslash - bare),
                Bar::Reported,
            ),
        ]),
        None => missing.push("dotslash is not installed: run benches/peers.sh".into()),
    }
    for name in ["exec-home", "exec-dotslash-cache", "exec-tree"] {
        context.scratch.vacant(name)?;
    }
    Ok(Figure { method: METHOD.into(), rows, samples, missing, ..Figure::default() })
}

/// A static program that does nothing.
fn compile(context: &Context) -> Outcome<PathBuf> {
    let program = context.scratch.vacant("true")?;
    let source = context.scratch.root().join("true.rs");
    fs::write(&source, "fn main() {}\n")?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["-O", "-C", "strip=symbols", "-C", "target-feature=+crt-static", "-o"]);
    time(command.arg(&program).arg(&source))?;
    Ok(program)
}

/// A carrier of full size with the program in it.
fn carrier(context: &Context, program: &Path) -> Outcome<PathBuf> {
    let tree = context.scratch.empty("exec-tree")?;
    fs::copy(program, tree.join("true"))?;
    fs::write(
        tree.join("component.json"),
        r#"{"name": "true-component", "version": "1", "entrypoint": "true"}"#,
    )?;
    let mut ballast = vec![0; BALLAST];
    blake3::Hasher::new().finalize_xof().fill(&mut ballast);
    fs::write(tree.join("ballast"), ballast)?;
    let carrier = context.scratch.vacant("exec-carrier")?;
    let mut component = std::ffi::OsString::from("true-component=");
    component.push(&tree);
    let bare = Context::bare();
    let mut command = Command::new(&bare);
    command.args(["bundle", "pack", "--no-self-check", "--level", "1", "--base"]).arg(&bare);
    time(command.arg("--component").arg(component).arg("--out").arg(&carrier))?;
    Ok(carrier)
}

/// A `DotSlash` file for the program, run once so that its cache is filled.
fn fill(context: &Context, dotslash: &Path, program: &Path, cache: &Path) -> Outcome<PathBuf> {
    let program_bytes = fs::read(program)?;
    let (size, digest) = (program_bytes.len(), Digest::of(&program_bytes));
    let server = Server::start(move |_| Answer::ok(program_bytes.clone()))?;
    let platform = serde_json::json!({
        "size": size, "hash": "blake3", "digest": digest, "path": "true",
        "providers": [{ "url": format!("{}/true", server.url()) }],
    });
    let os = if cfg!(target_os = "macos") { "macos" } else { "linux" };
    let name = format!("{os}-{}", std::env::consts::ARCH);
    let description = serde_json::json!({ "name": "true", "platforms": { name: platform } });
    let launcher = context.scratch.vacant("true.dotslash")?;
    fs::write(&launcher, format!("#!/usr/bin/env dotslash\n{description:#}\n"))?;
    time(Command::new(dotslash).arg(&launcher).env("DOTSLASH_CACHE", cache))?;
    Ok(launcher)
}
