//! `cache verify` against `b3sum` over the same files.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Contestant, Samples, bytes, take_turns, time};
use crate::scratch::files;
use crate::{Context, Outcome};
use std::process::Command;

const METHOD: &str = "Whole process, wall clock, files in the page cache, both with as many threads as they take by themselves. \
    `stigmer cache verify` also compares kind, mode, size and listing of the tree; `b3sum` gets the files' paths as arguments \
    and prints their digests to /dev/null.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let b3sum = context.peer("b3sum").ok_or("b3sum is not installed: run benches/peers.sh")?;
    let home = context.scratch.empty("verify")?;
    time(Command::new(&context.stigmer).args(["cache", "warm"]).env("STIGMER_HOME", &home))?;
    let store = home.join("store/v1");
    let entry = std::fs::read_dir(&store)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
        .ok_or("nothing was materialized")?;
    let found = files(&entry)?;
    let total = bytes(found.iter().map(|(_, size)| size).sum());
    let times = take_turns(
        context.rounds(61),
        vec![
            Contestant::new("stigmer cache verify", || {
                time(Command::new(&context.stigmer).args(["cache", "verify"]).env("STIGMER_HOME", &home))
            }),
            Contestant::new("b3sum", || time(Command::new(&b3sum).args(found.iter().map(|(path, _)| path)))),
        ],
    )?;
    context.scratch.vacant("verify")?;
    let rate = |samples: &Samples| total / (samples.median() / 1000.0);
    let (ours, theirs) = (rate(&times[0]), rate(&times[1]));
    let row =
        Row::against("cache verify", Unit::BytesPerSecond, ours, ("b3sum", theirs), Bar::RatioAtLeast(1.0));
    Ok(Figure { method: METHOD.into(), rows: vec![row], samples: times, ..Figure::default() })
}
