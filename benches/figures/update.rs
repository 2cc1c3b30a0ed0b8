//! Update locality: how many bytes of a new carrier are new, after one line of the runner has changed.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{bytes, time};
use crate::scratch::files;
use crate::{Context, Outcome};
use fs_err as fs;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use stigmer::bundle::Carrier;

const METHOD: &str = "The tree is copied, a few bytes are inserted in the middle of one compiled module of the runner (what a changed line does to it), and \
    both trees are packed by this build. New is every frame whose digest the old carrier does not have, and the index; the share is of \
    the whole new carrier. The code part does not change.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let copy = context.scratch.vacant("update-tree")?;
    time(Command::new("cp").arg("-r").arg(&context.tree).arg(&copy))?;
    let changed = change_one_line(&copy)?;
    let (old, new) = (context.scratch.vacant("update-old")?, context.scratch.vacant("update-new")?);
    pack(&context.tree, &old)?;
    pack(&copy, &new)?;
    let (old_carrier, new_carrier) = (Carrier::open(&old)?, Carrier::open(&new)?);
    let (old_index, new_index) = (old_carrier.index()?, new_carrier.index()?);
    let have: HashSet<_> =
        old_index.components.iter().flat_map(|c| &c.frames).map(|frame| *frame.blake3.as_bytes()).collect();
    let fresh: Vec<_> = new_index
        .components
        .iter()
        .flat_map(|c| &c.frames)
        .filter(|frame| !have.contains(frame.blake3.as_bytes()))
        .collect();
    let to_fetch = fresh.iter().map(|frame| frame.len).sum::<u64>() + new_carrier.footer().index_len;
    let whole = bytes(new_carrier.bytes().len() as u64);
    let row = Row::against(
        &format!(
            "bytes of an update after a one-line change ({} new of {} frames)",
            fresh.len(),
            new_index.components.iter().map(|c| c.frames.len()).sum::<usize>()
        ),
        Unit::Bytes,
        bytes(to_fetch),
        ("full download", whole),
        Bar::RatioAtMost(0.10),
    );
    drop((old_carrier, new_carrier));
    for name in ["update-tree", "update-old", "update-new"] {
        context.scratch.vacant(name)?;
    }
    let method = format!("{METHOD} The changed module is `{changed}`.");
    Ok(Figure { method, rows: vec![row], ..Figure::default() })
}

/// Changes one of the runner's own modules, or some small file if they are not there, and says which.
fn change_one_line(tree: &Path) -> Outcome<String> {
    let all = files(tree)?;
    let own = all.iter().find(|(path, _)| path.ends_with("agent_runner/worker.pyc"));
    let small = || all.iter().find(|(path, size)| *size > 4096 && path.extension().is_some());
    let (path, _) = own.or_else(small).ok_or("the tree has no file to change")?;
    let mut content = fs::read(path)?;
    let middle = content.len() / 2;
    content.splice(middle..middle, *b"a line that was not there");
    fs::write(path, content)?;
    Ok(path.strip_prefix(tree)?.display().to_string())
}

fn pack(tree: &Path, out: &Path) -> Outcome<()> {
    let bare = Context::bare();
    let mut component = std::ffi::OsString::from("agent-runner=");
    component.push(tree);
    let mut command = Command::new(&bare);
    command
        .args(["bundle", "pack", "--no-self-check", "--base"])
        .arg(&bare)
        .arg("--component")
        .arg(component);
    time(command.arg("--out").arg(out)).map(drop)
}
