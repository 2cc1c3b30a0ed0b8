//! An update from beginning to end, for one installed executable.

use super::apply::{self, ApplyError};
use super::error::UpdateError;
use super::fetch;
use super::http::{Client, FetchError, Why};
use super::offer::Chosen;
use super::patch::Fitting;
use super::plan::{Plan, Sums};
use super::recipe::Recipe;
use super::seed::Seed;
use super::staging::{self, Staging};
use super::{TrustError, ownership};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stigmer_bundle::{Carrier, Digest};
use stigmer_store::Progress;
use stigmer_store::Root;
use stigmer_store::lock::Lock;

/// How long to wait for another update of the same executable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Room that must be left on the disk beyond the new carrier, in bytes.
const SPARE: u64 = 4 << 20;

/// An installed executable that may be replaced.
#[derive(Debug)]
pub struct Installed {
    target: PathBuf,
}

/// What an update came to.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Where the new version is.
    pub path: PathBuf,
    /// Where the previous one is kept.
    pub previous: PathBuf,
    /// What the plan that was carried out came to; what an interrupted run had fetched already is not in it.
    pub sums: Sums,
    /// What a person should know.
    pub remarks: Vec<String>,
}

impl Installed {
    /// The executable that is running, where it really lies.
    ///
    /// # Errors
    /// It carries nothing, so it is no release; or its directory cannot be written.
    pub fn find() -> Result<Self, UpdateError> {
        let target = ownership::installed()?;
        Carrier::read_footer(&target)?;
        Ok(Self { target })
    }

    /// Its real path.
    pub fn path(&self) -> &Path {
        &self.target
    }

    fn dir(&self) -> &Path {
        self.target.parent().unwrap_or(Path::new("."))
    }

    /// Whether it can be replaced at all.
    pub fn check_writable(&self) -> Result<(), UpdateError> {
        staging::probe(&self.target).map_err(|source| {
            let owner = self.dir().metadata().ok().map(|meta| stigmer_platform::owned_by(&meta));
            let owner = owner.filter(|(_, is_us)| !is_us).map(|(id, _)| id);
            UpdateError::Unwritable { dir: self.dir().to_owned(), owner, source }
        })
    }

    /// Takes the lock that only one update of this executable can have.
    pub fn lock(&self, root: &Root, progress: &dyn Progress) -> Result<Lock, UpdateError> {
        fs_err::create_dir_all(root.locks())?;
        let name = Digest::of(self.target.as_os_str().as_encoded_bytes()).short();
        let path = root.locks().join(format!("update-{name}.lock"));
        let doing = format!("updating {}", self.target.display());
        Ok(Lock::acquire(&path, &doing, PATIENCE, &mut |holder| progress.waiting(holder, PATIENCE))?)
    }

    /// Whether the executable is what `index` describes already: another update may have been faster. Reads it all.
    pub fn is(&self, index: &super::UpdateIndex) -> io::Result<bool> {
        let file = fs_err::File::open(&self.target)?;
        if file.metadata()?.len() != index.carrier.size {
            return Ok(false);
        }
        Ok(Digest::of(&stigmer_platform::map(file.file())?) == index.carrier.blake3)
    }

    /// The carriers of this machine that may hold pieces of a new one.
    fn seeds(&self) -> Vec<Seed> {
        [self.target.clone(), apply::previous_of(&self.target)]
            .iter()
            .filter_map(|path| Seed::of_carrier(path).ok())
            .collect()
    }

    /// Says what an update to `offer` would fetch, without writing anything.
    pub fn plan(&self, offer: &Chosen, whole: bool) -> Sums {
        let recipe = Recipe::new(&offer.index);
        let mut seeds = self.seeds();
        seeds.extend(Seed::by_recipe(&Staging::path_of(&self.target, recipe.digest), &recipe));
        let here = |number: usize| recipe.pieces.get(number).is_some_and(|piece| holds(&seeds, piece.digest));
        let fitting = Fitting::find(&offer.patches, &seeds);
        let patch = fitting.as_ref().map(|fitting| fitting.patch);
        Plan::new(&recipe, |number| !whole && here(number), whole, patch).sums
    }

    /// Replaces the executable by what `offer` describes. The caller holds the lock.
    pub fn update(
        &self,
        client: &Client,
        offer: &Chosen,
        whole: bool,
        progress: &dyn Progress,
    ) -> Result<Installation, UpdateError> {
        let recipe = Recipe::new(&offer.index);
        let mut staging = self.stage(&recipe)?;
        staging.look(&recipe)?;
        let seeds = if whole { Vec::new() } else { self.seeds() };
        let filled = match fetch::fill(client, offer, &recipe, &mut staging, &seeds, whole, progress) {
            Ok(filled) => filled,
            Err(error) => {
                if matches!(
                    error,
                    UpdateError::Trust(_) | UpdateError::Fetch(FetchError { why: Why::Size { .. }, .. })
                ) {
                    // A host that gives wrong bytes leaves nothing behind.
                    staging.discard();
                }
                return Err(error);
            }
        };
        let new = finish(staging, &recipe, &offer.index.carrier.name)?;
        let installed = self.put_in_place(&new, &offer.index.version.to_string());
        if matches!(installed, Err(UpdateError::Apply(ApplyError::DoesNotWork { .. }))) {
            let _ = std::fs::remove_file(&new);
        }
        installed?;
        Ok(Installation {
            path: self.target.clone(),
            previous: apply::previous_of(&self.target),
            sums: filled.sums,
            remarks: filled.remarks,
        })
    }

    /// Replaces the executable by the carrier at `file`, of which `offer` says what it must be. Nothing is fetched.
    pub fn update_from_file(
        &self,
        file: &Path,
        index: &super::UpdateIndex,
        progress: &dyn Progress,
    ) -> Result<Installation, UpdateError> {
        let recipe = Recipe::new(index);
        let found = fs_err::metadata(file)?.len();
        if found != recipe.size {
            let name = index.carrier.name.clone();
            return Err(TrustError::OtherSize { name, found, wanted: recipe.size }.into());
        }
        let mut staging = self.stage(&recipe)?;
        let seeds = [Seed::by_recipe(file, &recipe)?];
        progress.begin("copying", recipe.size);
        let copied = fetch::copy(&mut staging, &recipe, &seeds, progress);
        progress.end();
        copied?;
        let new = finish(staging, &recipe, &index.carrier.name)?;
        self.put_in_place(&new, &index.version.to_string())?;
        Ok(Installation {
            path: self.target.clone(),
            previous: apply::previous_of(&self.target),
            sums: Sums { size: recipe.size, fetch_bytes: 0, reused_bytes: 0, requests: 0 },
            remarks: Vec::new(),
        })
    }

    /// Makes room beside the executable.
    fn stage(&self, recipe: &Recipe) -> Result<Staging, UpdateError> {
        apply::finish_interrupted(&self.target)?;
        let path = Staging::path_of(&self.target, recipe.digest);
        staging::sweep(&self.target, Some(&path));
        if !path.exists() {
            let needed = recipe.size + SPARE;
            // A file system that does not tell is asked for the room itself, in a moment.
            match fs2::available_space(self.dir()) {
                Ok(free) if free < needed => {
                    return Err(UpdateError::NoSpace { dir: self.dir().to_owned(), needed, free });
                }
                _ => {}
            }
        }
        Staging::open(&self.target, recipe)?.ok_or(UpdateError::Filling { path })
    }

    fn put_in_place(&self, new: &Path, version: &str) -> Result<(), UpdateError> {
        apply::adopt_metadata(&self.target, new)?;
        apply::check_works(new, Some(version))?;
        Ok(apply::apply(&self.target, new)?)
    }

    /// Goes back to the previous version, which then is the next one to go back to. Returns what it says it is.
    pub fn roll_back(&self) -> Result<String, UpdateError> {
        let previous = apply::previous_of(&self.target);
        apply::finish_interrupted(&self.target)?;
        staging::sweep(&self.target, None);
        if previous.symlink_metadata().is_err() {
            return Err(ApplyError::NoPrevious { path: previous }.into());
        }
        let version = apply::check_works(&previous, None)?;
        apply::roll_back(&self.target)?;
        Ok(version)
    }
}

fn holds(seeds: &[Seed], digest: Digest) -> bool {
    seeds.iter().any(|seed| seed.find(digest).is_some())
}

/// Checks the carrier that was made. One that is wrong is not kept: its parts were right, so its signed description is not.
fn finish(staging: Staging, recipe: &Recipe, name: &str) -> Result<PathBuf, UpdateError> {
    let path = staging.path().to_owned();
    staging.finish(recipe).map_err(|error| {
        if error.kind() != io::ErrorKind::InvalidData {
            return error.into();
        }
        let _ = std::fs::remove_file(&path);
        TrustError::OtherContent { name: name.to_owned(), what: "the whole".to_owned() }.into()
    })
}
