//! Releases to update to: built from the sources of this one, packed, signed and published as real ones are.
//!
//! What takes minutes is made once for each old release and kept below `build/bench-releases`: executables by cargo, with the
//! version, the commit and at most one source file changed; trees by the runner's own `build.py`, out of a changed copy of its project.

use crate::changes::{Change, Edit};
use crate::scratch::{files, remove};
use crate::{Context, Outcome};
use fs_err as fs;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use stigmer::bundle::{Carrier, Digest};
use stigmer::update::{Identity, Target};

/// What an executable is built from.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "benches", "packaging"];
/// The commit that the new executables say: a release has a new one, whatever else has changed.
const COMMIT: &str = "0123456789ab";
/// Everything is issued at one time.
const ISSUED: &str = "2026-01-01T00:00:00Z";

/// Where releases are made, and what all of them have in common.
pub(crate) struct Releases<'a> {
    context: &'a Context,
    /// What is kept when the old release is another one: build directories.
    work: PathBuf,
    /// What belongs to this old release.
    dir: PathBuf,
    /// What the old release says of itself.
    old: Identity,
}

/// One new release.
pub(crate) struct Release {
    /// The directory that a static host would serve.
    pub(crate) site: PathBuf,
    /// Another, for who comes from further back than patches are made for.
    pub(crate) unpatched: PathBuf,
    /// The new carrier in the first.
    pub(crate) carrier: PathBuf,
    /// What `zstd --patch-from` makes of the old carrier and the new one, if it is there.
    pub(crate) patch: Option<PathBuf>,
}

impl<'a> Releases<'a> {
    pub(crate) fn new(context: &'a Context) -> Outcome<Self> {
        let carrier = Carrier::open(&context.stigmer)?;
        let code = usize::try_from(carrier.range().start)?;
        let old = Identity::find(&carrier.bytes()[..code])?;
        let bare = Identity::find(&fs::read(Context::bare())?)?;
        if old != bare {
            let reason = format!("dist/stigmer is {old} of another commit or version than these sources");
            return Err(format!("{reason}: run `make build` first").into());
        }
        let work = context.root.join("build/bench-releases");
        let dir = work.join("releases");
        // The same old release and the same changes give the same new ones.
        let made_from = [Digest::of(carrier.bytes()), Digest::of(include_bytes!("changes.rs"))];
        let made_from = format!("{} {}", made_from[0], made_from[1]);
        let stamp = dir.join("made-from");
        if fs::read_to_string(&stamp).unwrap_or_default() != made_from {
            remove(&dir)?;
            fs::create_dir_all(&dir)?;
            let mut keygen = Command::new(&context.stigmer);
            keygen.args(["bundle", "keygen", "--no-password", "--out"]).arg(dir.join("key"));
            quietly(&mut keygen)?;
            fs::write(&stamp, made_from)?;
        }
        Ok(Self { context, work, dir, old })
    }

    /// The public key that the old release must be told to trust.
    pub(crate) fn public_key(&self) -> Outcome<String> {
        let text = fs::read_to_string(self.dir.join("key.pub"))?;
        let line = text.lines().find(|line| line.starts_with("RW"));
        Ok(line.ok_or("the public key has no line that begins with RW")?.to_owned())
    }

    /// Makes the release of `change`, or finds it made.
    pub(crate) fn release(&self, change: &Change) -> Outcome<Release> {
        let target = Target::of_triple(&self.old.triple).ok_or("no releases are made for this machine")?;
        let version = self.version();
        let site = self.dir.join(change.name);
        let unpatched = self.dir.join(format!("{}-unpatched", change.name));
        let name = target.carrier_name(&version);
        let carrier = site.join(version.to_string()).join(target.as_str()).join(&name);
        if !site.exists() {
            let bare = self.bare(change)?;
            let tree = match &change.runner {
                Some(edit) => self.tree(change, edit)?,
                None => self.context.tree.clone(),
            };
            let packed = self.dir.join("packed");
            pack(&bare, &tree, &packed)?;
            self.publish(&bare, &[packed.as_path()], &unpatched)?;
            self.publish(&bare, &[self.context.stigmer.as_path(), packed.as_path()], &site)?;
            fs::remove_file(&packed)?;
        }
        let patch = self.patch(change, &carrier)?;
        Ok(Release { site, unpatched, carrier, patch })
    }

    /// Publishes these carriers, one after the other, as `bare` does it.
    fn publish(&self, bare: &Path, carriers: &[&Path], site: &Path) -> Outcome<()> {
        let unfinished = self.dir.join("unfinished");
        remove(&unfinished)?;
        for carrier in carriers {
            let mut publish = Command::new(bare);
            publish.args(["bundle", "publish", "--issued", ISSUED, "--carrier"]).arg(carrier);
            publish.arg("--key").arg(self.dir.join("key")).arg("--out").arg(&unfinished);
            quietly(&mut publish)?;
        }
        remove(site)?;
        Ok(fs::rename(&unfinished, site)?)
    }

    /// The version of the new releases: the next one.
    fn version(&self) -> semver::Version {
        let old = &self.old.version;
        semver::Version::new(old.major, old.minor, old.patch + 1)
    }

    /// The executable: with the new version and commit, and with what `change` does to its sources.
    fn bare(&self, change: &Change) -> Outcome<PathBuf> {
        let name = change.code.as_ref().map_or("version", |_| change.name);
        let bare = self.dir.join(format!("stigmer-{name}"));
        if bare.exists() {
            return Ok(bare);
        }
        let copy = self.work.join("source");
        fs::create_dir_all(&copy)?;
        for name in SOURCES {
            remove(&copy.join(name))?;
            quietly(Command::new("cp").arg("-r").arg(self.context.root.join(name)).arg(&copy))?;
        }
        change.code.as_ref().map_or(Ok(()), |edit| apply(edit, &copy))?;
        let built = if stigmer::build_info::identity().is_some_and(|own| own.triple == self.old.triple) {
            let target = self.work.join("target");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--release", "--locked", "--bin", "stigmer", "--target-dir"]).arg(&target);
            quietly(self.identified(&mut build).current_dir(&copy))?;
            target.join("release/stigmer")
        } else {
            let out = self.work.join("static");
            let mut build = Command::new(copy.join("packaging/static.sh"));
            quietly(self.identified(&mut build).arg(&out))?;
            out
        };
        fs::copy(built, &bare)?;
        Ok(bare)
    }

    /// The variables that make an executable another release.
    fn identified<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("STIGMER_VERSION", self.version().to_string()).env("STIGMER_COMMIT", COMMIT)
    }

    /// The runner's tree, built from a copy of its project with one file edited.
    fn tree(&self, change: &Change, edit: &Edit) -> Outcome<PathBuf> {
        let place = self.work.join(format!("runner-{}", change.name));
        let project = place.join("payloads/agent-runner");
        remove(&project)?;
        fs::create_dir_all(place.join("payloads"))?;
        quietly(
            Command::new("cp").arg("-r").arg(self.context.root.join("payloads/agent-runner")).arg(&project),
        )?;
        apply(edit, &project)?;
        let (ours, theirs) =
            (self.context.root.join("build/agent-runner/venv"), place.join("build/agent-runner"));
        if ours.exists() && !theirs.exists() {
            // The environment of the same lock need not be installed again; of another one, `build.py` sees it and does.
            fs::create_dir_all(&theirs)?;
            quietly(Command::new("cp").arg("-rH").arg(&ours).arg(theirs.join("venv")))?;
        }
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        quietly(Command::new(python).arg(project.join("build.py")).arg("--out").arg(place.join("dist")))?;
        let tree = place.join("dist/agent-runner");
        let changed = differing(&self.context.tree, &tree)?;
        if changed.is_empty() || change.files.is_some_and(|expected| expected != changed.len()) {
            let reason = format!("{} files of the runner differ from dist/agent-runner", changed.len());
            return Err(format!("{reason}: {}; run `make build` first", changed.join(", ")).into());
        }
        Ok(tree)
    }

    /// The peer's patch of the whole carrier, if the peer is here.
    fn patch(&self, change: &Change, carrier: &Path) -> Outcome<Option<PathBuf>> {
        let patch = self.dir.join(format!("{}.zst", change.name));
        let Some(zstd) = self.context.peer("zstd") else { return Ok(None) };
        if !patch.exists() {
            let unfinished = self.dir.join("unfinished.zst");
            let mut command = Command::new(zstd);
            command.args(["-q", "-f", "-19", "--long=27"]).arg(patch_from(&self.context.stigmer));
            quietly(command.arg(carrier).arg("-o").arg(&unfinished))?;
            fs::rename(&unfinished, &patch)?;
        }
        Ok(Some(patch))
    }
}

/// The argument that names the old file.
pub(crate) fn patch_from(old: &Path) -> OsString {
    let mut argument = OsString::from("--patch-from=");
    argument.push(old);
    argument
}

fn apply(edit: &Edit, root: &Path) -> Outcome<()> {
    let path = root.join(edit.file);
    let text = fs::read_to_string(&path)?;
    let edited = (edit.edited)(&text);
    let edited = edited.ok_or_else(|| {
        format!("`{}` has no such place any more: adapt benches/figures/changes.rs", edit.file)
    })?;
    Ok(fs::write(path, edited)?)
}

fn pack(bare: &Path, tree: &Path, out: &Path) -> Outcome<()> {
    let mut component = OsString::from("agent-runner=");
    component.push(tree);
    let mut command = Command::new(bare);
    command.args(["bundle", "pack", "--no-self-check", "--base"]).arg(bare).arg("--component").arg(component);
    quietly(command.arg("--out").arg(out))
}

/// The files that are in one tree only, or are not the same in both.
fn differing(a: &Path, b: &Path) -> Outcome<Vec<String>> {
    let listed = |tree: &Path| -> Outcome<Vec<(String, Digest)>> {
        let one = |(path, _): (PathBuf, u64)| -> Outcome<(String, Digest)> {
            Ok((path.strip_prefix(tree)?.display().to_string(), Digest::of(&fs::read(&path)?)))
        };
        files(tree)?.into_iter().map(one).collect()
    };
    let (a, b) = (listed(a)?, listed(b)?);
    let only = |these: &[(String, Digest)], others: &[(String, Digest)]| -> Vec<String> {
        these.iter().filter(|file| !others.contains(file)).map(|(name, _)| name.clone()).collect()
    };
    let mut names = [only(&a, &b), only(&b, &a)].concat();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Runs `command`, and shows what it said only if it failed.
fn quietly(command: &mut Command) -> Outcome<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let last: Vec<&str> = said.lines().rev().take(10).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!("{command:?} ended with {}: {}", output.status, last.join("\n")).into())
}
