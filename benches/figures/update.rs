//! Updates, from this release to three others: what is fetched, how long it takes, and how much memory.

use crate::changes::{CHANGES, Change};
use crate::figure::{Bar, Figure, Row, Unit};
use crate::measure::{Contestant, Samples, bytes, take_turns, time};
use crate::memory::peak;
use crate::releases::{Release, Releases, patch_from};
use crate::site::{Fetched, Site};
use crate::{Context, Outcome};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const METHOD: &str = "`stigmer self-update` of an installed copy of `dist/stigmer`, from a static host on the loopback, with releases made by `stigmer bundle \
    publish` and a key made for it. Every new release is built from the same sources with the next version number (`STIGMER_VERSION`; `version` in `Cargo.toml` \
    stays, as another one there renames every symbol and so moves nearly all code) and another commit, and one change: \
    a constant in `worker.py` of the runner, whose tree is then built anew; a condition with its message in `src/config.rs`; or `langchain-core` in the \
    version 1.7.7 of its registry instead of the locked one, the tree built anew. Bytes are those of all bodies that the host sent: the listing, the \
    update index, their signatures, the patch of the code part or compressed pieces of it, and frames. Patches are made from the last three releases; without \
    a patch is how it is for who comes from further back. A full download is the new carrier alone. The peer's patch is `zstd \
    -19 --long=27 --patch-from` of the two whole carriers; it fits one old version only, and is applied with `zstd -d`, which writes the file and neither \
    flushes it nor checks whose it is. Time is that of the whole process, the files in the page cache: it says what the client costs and nothing of a \
    network. It includes the search of the old file for what it has, all digests and signatures, the flush to disk, and the new executable's check of \
    itself. Memory is taken down in runs of their own, as in the figure `memory`, of the updating process without the check, which is another process.";

/// The limit for memory beyond the mapped files.
const MEMORY: f64 = 64.0 * 1024.0 * 1024.0;

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let releases = Releases::new(context)?;
    let home = context.scratch.empty("update-home")?;
    let config = format!("[update]\nnotice = false\ntrusted_keys = [\"{}\"]\n", releases.public_key()?);
    fs::write(home.join("config.toml"), config)?;
    let mut figure = Figure { method: METHOD.into(), ..Figure::default() };
    let mut memory = ["peak RssAnon of self-update", "VmHWM of self-update"].map(|name| Samples {
        name: name.into(),
        unit: Unit::Bytes,
        runs: Vec::new(),
    });
    for change in &CHANGES {
        let measured = releases.release(change).and_then(|release| {
            let installation = Installation::new(context, &home, &release, &release.site)?;
            one(&installation, change, &mut figure, &mut memory)?;
            let installation = Installation::new(context, &home, &release, &release.unpatched)?;
            from_further_back(&installation, change, &mut figure)
        });
        if let Err(error) = measured {
            figure.missing.push(format!("update after {}: {error}", change.what));
        }
    }
    let rows = ["peak memory of an update beyond the mapped files", "peak memory of an update with them"];
    let bars = [Bar::AtMost(MEMORY), Bar::Reported];
    for ((what, bar), samples) in rows.into_iter().zip(bars).zip(memory) {
        if !samples.runs.is_empty() {
            figure.rows.push(Row::alone(what, Unit::Bytes, samples.quantile(1.0), bar));
            figure.samples.push(samples);
        }
    }
    for name in ["update-home", "update-bin", "update-patched"] {
        context.scratch.vacant(name)?;
    }
    Ok(figure)
}

/// Measures the update to one release.
fn one(
    installation: &Installation<'_>,
    change: &Change,
    figure: &mut Figure,
    memory: &mut [Samples; 2],
) -> Outcome<()> {
    let Installation { context, release, .. } = installation;
    let what = change.what;
    let (_, fetched) = installation.update(&[])?;
    let size = bytes(fs::metadata(&release.carrier)?.len());
    let bytes_of = format!("bytes of an update, {what}");
    let parts = format!(
        "{bytes_of} ({} of code, {} of frames, {} of documents; {} requests)",
        Unit::Bytes.show(bytes(fetched.code)),
        Unit::Bytes.show(bytes(fetched.carrier)),
        Unit::Bytes.show(bytes(fetched.documents)),
        fetched.requests
    );
    let ours = bytes(fetched.all());
    figure.rows.push(Row::against(&parts, Unit::Bytes, ours, ("full download", size), change.bar));
    if let Some(patch) = &release.patch {
        let patch = bytes(fs::metadata(patch)?.len());
        let peer = ("zstd --patch-from", patch);
        figure.rows.push(Row::against(&bytes_of, Unit::Bytes, ours, peer, Bar::Reported));
    } else {
        figure.missing.push(format!("{what}: zstd is not installed"));
    }

    let mut contestants = vec![
        Contestant::new(format!("self-update, {what}"), || Ok(installation.update(&[])?.0)),
        Contestant::new(format!("self-update --no-delta, {what}"), || {
            Ok(installation.update(&["--no-delta"])?.0)
        }),
    ];
    if let (Some(zstd), Some(patch)) = (context.peer("zstd"), &release.patch) {
        let name = format!("zstd -d --patch-from, {what}");
        contestants.push(Contestant::new(name, move || installation.patch(&zstd, patch)));
    }
    let samples = take_turns(context.rounds(21), contestants)?;
    let peers = ["self-update --no-delta", "zstd -d --patch-from"];
    for (peer, name) in samples.iter().skip(1).zip(peers) {
        let (ours, theirs) = (samples[0].median(), (name, peer.median()));
        let time_of = format!("time of an update, {what}");
        figure.rows.push(Row::against(&time_of, Unit::Milliseconds, ours, theirs, Bar::Reported));
    }
    figure.samples.extend(samples);

    for _ in 0..context.rounds(7) {
        for options in [&[][..], &["--no-delta"]] {
            installation.restore()?;
            let peak = peak(&mut installation.command(options))?;
            memory[0].runs.push(peak.anonymous);
            memory[1].runs.push(peak.all);
        }
    }
    Ok(())
}

/// Bytes of the same update where no patch fits.
fn from_further_back(installation: &Installation<'_>, change: &Change, figure: &mut Figure) -> Outcome<()> {
    let (_, fetched) = installation.update(&[])?;
    let size = bytes(fs::metadata(&installation.release.carrier)?.len());
    let what = format!(
        "the same without a patch, {} ({} of code; {} requests)",
        change.what,
        Unit::Bytes.show(bytes(fetched.code)),
        fetched.requests
    );
    let ours = bytes(fetched.all());
    figure.rows.push(Row::against(&what, Unit::Bytes, ours, ("full download", size), Bar::Reported));
    Ok(())
}

/// A copy of the old release that is updated again and again, and the host it asks.
struct Installation<'a> {
    context: &'a Context,
    release: &'a Release,
    home: &'a Path,
    site: Site,
    /// The installed executable.
    program: PathBuf,
}

impl<'a> Installation<'a> {
    fn new(context: &'a Context, home: &'a Path, release: &'a Release, site: &Path) -> Outcome<Self> {
        let program = context.scratch.empty("update-bin")?.join("stigmer");
        Ok(Self { context, release, home, site: Site::start(site)?, program })
    }

    /// Installs the old release as if there had been no other.
    fn restore(&self) -> Outcome<()> {
        // New files: what was installed may still run, to collect what it does not need.
        self.context.scratch.empty("update-bin")?;
        fs::copy(&self.context.stigmer, &self.program)?;
        self.site.take();
        Ok(())
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["self-update", "--json"]).args(options);
        command.env("STIGMER_HOME", self.home).env("STIGMER_RELEASES_URL", self.site.url());
        command
    }

    /// Installs the old release, updates it, and makes sure that it is the new one.
    fn update(&self, options: &[&str]) -> Outcome<(Duration, Fetched)> {
        self.restore()?;
        let taken = time(&mut self.command(options))?;
        let fetched = self.site.take();
        self.expect_new(&self.program)?;
        Ok((taken, fetched))
    }

    /// Makes the new carrier of the old one and the peer's patch.
    fn patch(&self, zstd: &Path, patch: &Path) -> Outcome<Duration> {
        let out = self.context.scratch.vacant("update-patched")?;
        let mut command = Command::new(zstd);
        command.args(["-q", "-d", "--long=27"]).arg(patch_from(&self.context.stigmer));
        let taken = time(command.arg(patch).arg("-o").arg(&out))?;
        self.expect_new(&out)?;
        Ok(taken)
    }

    fn expect_new(&self, path: &Path) -> Outcome<()> {
        if fs::read(path)? == fs::read(&self.release.carrier)? {
            return Ok(());
        }
        Err(format!("`{}` is not the new release", path.display()).into())
    }
}
