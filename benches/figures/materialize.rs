//! Cold materialize: from an empty home to a published, verified entry, against copying and unpacking the same tree.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Contestant, take_turns, time};
use crate::{Context, Outcome};
use fs_err as fs;
use std::process::Command;
use stigmer::bundle::Carrier;

const METHOD: &str = "Whole process, wall clock. `STIGMER_HOME=fresh stigmer cache warm` against `cp -r` of the ready tree, and against \
    unpacking an archive of it made once with `zstd -19` and with `gzip -9`. Every contestant writes to a fresh directory on the same file system; \
    its sources are in the page cache; what it wrote is emptied before its next run, outside the timed part, and removed after the last one, because \
    ext4 makes whoever creates files right after a removal pay for it. Nobody flushes to disk. Only stigmer checks what it writes: a BLAKE3 digest of every frame and of every file.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let identity = identity(context)?;
    let zst = context.scratch.archive(&context.tree, &identity, &["zstd", "-19"])?;
    let gz = context.scratch.archive(&context.tree, &identity, &["gzip", "-9"])?;
    let scratch = &context.scratch;
    let samples = take_turns(
        context.rounds(31),
        vec![
            Contestant::new("stigmer cache warm", || {
                let home = scratch.fresh("materialize-ours")?;
                fs::create_dir(&home)?;
                time(Command::new(&context.stigmer).args(["cache", "warm"]).env("STIGMER_HOME", home))
            }),
            Contestant::new("cp -r", || {
                let to = scratch.fresh("materialize-copied")?;
                time(Command::new("cp").arg("-r").arg(&context.tree).arg(to))
            }),
            Contestant::new("tar --zstd -xf", || {
                let to = scratch.fresh("materialize-zstd")?;
                fs::create_dir(&to)?;
                time(Command::new("tar").arg("--zstd").arg("-xf").arg(&zst).arg("-C").arg(to))
            }),
            Contestant::new("tar xzf", || {
                let to = scratch.fresh("materialize-gzip")?;
                fs::create_dir(&to)?;
                time(Command::new("tar").arg("xzf").arg(&gz).arg("-C").arg(to))
            }),
        ],
    )?;
    for name in ["ours", "copied", "zstd", "gzip"] {
        scratch.vacant(&format!("materialize-{name}"))?;
    }
    scratch.bury()?;
    let ours = samples[0].median();
    let bars = [Bar::RatioAtMost(2.0), Bar::RatioAtMost(0.40), Bar::Reported];
    let rows = samples[1..]
        .iter()
        .zip(bars)
        .map(|(peer, bar)| {
            Row::against("cold materialize", Unit::Milliseconds, ours, (&peer.name, peer.median()), bar)
        })
        .collect();
    Ok(Figure { method: METHOD.into(), rows, samples, ..Figure::default() })
}

/// What names the content of the tree: the payload digest of the first component.
pub(crate) fn identity(context: &Context) -> Outcome<String> {
    let footer = Carrier::read_footer(&context.stigmer)?;
    Ok(footer.slots.first().ok_or("the carrier is empty")?.digest.short())
}
