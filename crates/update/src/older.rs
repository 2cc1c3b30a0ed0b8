//! What a new release is patched from: the code parts of the releases before it, as they were published.
//!
//! They lie where the new one is published to. A host that keeps no old files, or a maintainer who has not fetched them, loses
//! nothing but bytes: without a patch, chunks are fetched.

use super::index::UpdateIndex;
use super::publish::PublishError;
use super::{Described, Listing, Patch, Release, Sha256, Target, patch};
use fs_err as fs;
use rayon::prelude::*;
use std::io;
use std::path::{Path, PathBuf};
use stigmer_bundle::Digest;

/// Where patches are made.
pub(super) struct Patching<'a> {
    /// The directory with the published releases.
    pub out: &'a Path,
    /// Their listing.
    pub listing: Option<&'a Listing>,
    /// From how many of them at most.
    pub most: usize,
    /// How hard to compress.
    pub level: i32,
}

impl Patching<'_> {
    /// Gives `described`, of which `code` is the code part, its patches. Returns what a maintainer should know.
    ///
    /// # Errors
    /// What lies there is not what was listed.
    pub(super) fn add_to(&self, described: &mut Described, code: &[u8]) -> Result<Vec<String>, PublishError> {
        if self.find_made(described)? {
            return Ok(Vec::new());
        }
        let (version, target) = (described.index.version.clone(), described.index.target);
        let mut remarks = Vec::new();
        let mut older = Vec::new();
        for release in self.releases(&described.index) {
            match self.code_part(release, target)? {
                Ok(bytes) => older.push((release, bytes)),
                Err(path) => remarks.push(format!(
                    "{target}: no patch from {}, as `{}` is not here",
                    release.version,
                    path.display()
                )),
            }
        }
        let made: Vec<(Patch, Vec<u8>)> = older
            .par_iter()
            .map(|(release, old)| {
                let bytes = patch::make(old, code, self.level)?;
                if !patch::makes(old, &bytes, code) {
                    return Err(io::Error::other("a patch does not make what it should"));
                }
                let from = release.version.clone();
                let name = target.patch_name(&version, &from);
                let (size, blake3) = (bytes.len() as u64, Digest::of(&bytes));
                Ok((Patch { from, from_blake3: Digest::of(old), name, size, blake3 }, bytes))
            })
            .collect::<io::Result<_>>()?;
        for (patch, bytes) in made {
            if patch.size < described.index.code.size {
                described.index.patches.push(patch);
                described.patches.push(bytes);
            }
        }
        Ok(remarks)
    }

    /// The releases to patch from: the newest before this one that whoever is offered this one may have.
    fn releases(&self, index: &UpdateIndex) -> impl Iterator<Item = &Release> {
        let all = self.listing.map_or(&[][..], |listing| &listing.releases);
        let (version, target, channel) = (index.version.clone(), index.target, index.channel.clone());
        all.iter()
            .filter(move |release| release.version < version && release.index(target).is_some())
            .filter(move |release| channel.offers(&release.channel))
            .take(self.most)
    }

    /// The code part of an older release; if its file is not here, where it would be.
    fn code_part(&self, release: &Release, target: Target) -> Result<Result<Vec<u8>, PathBuf>, PublishError> {
        let name = target.code_name(&release.version);
        let path = self.dir(release.version.to_string(), target).join(&name);
        let packed = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(path)),
            other => other?,
        };
        let listed = release.asset(&name).and_then(|asset| asset.digest.as_deref());
        if listed != Some(Sha256::of(&packed).prefixed().as_str()) {
            let reason =
                format!("it is not what is listed for {}; fetch it again or remove it", release.version);
            return Err(PublishError::Refused { path, reason });
        }
        Ok(Ok(zstd::stream::decode_all(&packed[..])?))
    }

    /// Takes the patches of this very release, if it was published before and they are here: to publish again changes nothing.
    fn find_made(&self, described: &mut Described) -> Result<bool, PublishError> {
        let (version, target) = (&described.index.version, described.index.target);
        let name = target.index_name(version);
        let dir = self.dir(version.to_string(), target);
        let listed = self.listing.and_then(|listing| listing.release(version)?.index(target));
        let Ok(bytes) = fs::read(dir.join(&name)) else { return Ok(false) };
        if listed.is_none_or(|listed| listed.blake3 != Digest::of(&bytes)) {
            return Ok(false);
        }
        let patches = UpdateIndex::parse(&name, &bytes)?.patches;
        let read = |patch: &Patch| {
            fs::read(dir.join(&patch.name)).ok().filter(|bytes| Digest::of(bytes) == patch.blake3)
        };
        let Some(made) = patches.iter().map(read).collect() else { return Ok(false) };
        (described.index.patches, described.patches) = (patches, made);
        Ok(true)
    }

    fn dir(&self, version: String, target: Target) -> PathBuf {
        self.out.join(version).join(target.as_str())
    }
}
