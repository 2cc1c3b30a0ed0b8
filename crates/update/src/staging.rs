//! The carrier in the making: a file beside the one it will replace, filled piece by piece.
//!
//! Beside it, because a rename within one directory is the only way to put a file in place that is never half there, and because
//! `/tmp` may be small, on another disk, or closed to programs. Its name holds the digest of the carrier it will be: a later run
//! finds what an earlier one has fetched, however that one ended, and trusts nothing of it without hashing it. The file
//! is locked while somebody fills it.

use super::recipe::{Piece, Recipe};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use stigmer_bundle::Digest;

/// What stands between the target's name and the digest.
const INFIX: &str = ".new-";
/// How much is read at once where the file is read back.
const BUFFER: usize = 1 << 20;

/// The carrier in the making.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    file: File,
    /// Which pieces it holds.
    filled: Vec<bool>,
}

/// The name of what is in the making beside `target`: `.stigmer.new-0123456789ab`.
fn name(target: &Path, digest: Digest) -> OsString {
    let mut name = prefix(target);
    name.push(digest.short());
    name
}

fn prefix(target: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or(OsStr::new("stigmer")));
    name.push(INFIX);
    name
}

/// A name for a program that still runs and cannot be removed yet: what is swept later.
pub(super) fn discarded_name(path: &Path) -> PathBuf {
    let stem =
        path.file_stem().map_or("stigmer".into(), |stem| stem.to_string_lossy().replace(".previous", ""));
    path.with_file_name(format!(".{stem}{INFIX}old-{}", std::process::id()))
}

impl Staging {
    /// Where the carrier with this digest is made before it replaces `target`.
    pub(super) fn path_of(target: &Path, digest: Digest) -> PathBuf {
        target.with_file_name(name(target, digest))
    }

    /// Opens it, or makes it with room for all of `recipe`. `None` if another process is filling it.
    ///
    /// # Errors
    /// The directory cannot be written, or the disk is full; then nothing is left of a new file.
    pub(super) fn open(target: &Path, recipe: &Recipe) -> io::Result<Option<Self>> {
        let path = Self::path_of(target, recipe.digest);
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // A link that somebody has put there is not followed: it would lead the bytes elsewhere.
        if path.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
            fs_err::remove_file(&path)?;
        }
        let is_new = !path.exists();
        let file = fs_err::OpenOptions::from_options(options).open(&path)?.into_parts().0;
        match fs2::FileExt::try_lock_exclusive(&file) {
            Err(error) if stigmer_store::lock::is_contended(&error) => return Ok(None),
            // Where there are no locks, the rename still decides.
            _ => {}
        }
        let room = if file.metadata()?.len() == recipe.size && !is_new {
            Ok(())
        } else {
            file.set_len(recipe.size).and_then(|()| reserve(&file, recipe.size))
        };
        if let Err(error) = room {
            if is_new {
                let _ = std::fs::remove_file(&path);
            }
            return Err(named(&path, "reserve room for", &error));
        }
        Ok(Some(Self { path, file, filled: vec![false; recipe.pieces.len()] }))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for what an earlier run has filled, and hashes it.
    pub(super) fn look(&mut self, recipe: &Recipe) -> io::Result<()> {
        let mut buffer = Vec::new();
        for (number, piece) in recipe.pieces.iter().enumerate() {
            self.filled[number] = self.holds(piece, &mut buffer)?;
        }
        Ok(())
    }

    /// Whether all places of the piece hold it.
    fn holds(&self, piece: &Piece, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let mut file = &self.file;
        for place in &piece.places {
            let mut hasher = blake3::Hasher::new();
            for range in place {
                buffer.resize(usize::try_from(range.end - range.start).map_err(io::Error::other)?, 0);
                file.seek(SeekFrom::Start(range.start))
                    .and_then(|_| file.read_exact(buffer))
                    .map_err(|error| named(&self.path, "read", &error))?;
                hasher.update(buffer);
            }
            if Digest::from(hasher.finalize()) != piece.digest {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it holds the piece with this number.
    pub(super) fn has(&self, number: usize) -> bool {
        self.filled.get(number).copied().unwrap_or(false)
    }

    /// Puts a piece wherever it belongs. `bytes` were checked.
    pub(super) fn put(&mut self, number: usize, piece: &Piece, bytes: &[u8]) -> io::Result<()> {
        for place in &piece.places {
            let mut rest = bytes;
            for range in place {
                let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
                let Some((part, behind)) = rest.split_at_checked(len) else {
                    return Err(io::Error::other("a piece is shorter than its place"));
                };
                rest = behind;
                self.write(part, range.start)?;
            }
        }
        if let Some(filled) = self.filled.get_mut(number) {
            *filled = true;
        }
        Ok(())
    }

    /// Writes bytes of the carrier that were not checked; [`Staging::finish`] does.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        stigmer_platform::write_all_at(&self.file, bytes, at)
            .map_err(|error| named(&self.path, "write", &error))
    }

    /// Reads it back and hashes all of it, and waits until it is on disk.
    ///
    /// # Errors
    /// `InvalidData` if it is not the carrier it should be.
    pub(super) fn finish(self, recipe: &Recipe) -> io::Result<PathBuf> {
        let mut file = &self.file;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let mut size = 0;
        file.seek(SeekFrom::Start(0))?;
        loop {
            let count = file.read(&mut buffer).map_err(|error| named(&self.path, "read", &error))?;
            if count == 0 {
                break;
            }
            hasher.update_rayon(&buffer[..count]);
            size += count as u64;
        }
        if (size, Digest::from(hasher.finalize())) != (recipe.size, recipe.digest) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("`{}` is not the carrier that was signed", self.path.display()),
            ));
        }
        self.file.sync_all().map_err(|error| named(&self.path, "flush", &error))?;
        Ok(self.path)
    }

    /// Removes it: what it holds is of no use.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether we may replace files beside `target`: the only way to know is to try, before anything is fetched.
///
/// # Errors
/// What the system says.
pub(super) fn probe(target: &Path) -> io::Result<()> {
    // Under a name that is swept, should we be killed in this moment.
    tempfile::Builder::new()
        .prefix(&prefix(target))
        .tempfile_in(target.parent().unwrap_or(Path::new(".")))
        .map(drop)
}

/// Removes what updates to other versions have left beside `target`, unless somebody is at work on it.
pub(super) fn sweep(target: &Path, keep: Option<&Path>) {
    let prefix = prefix(target);
    let (Some(dir), Some(prefix)) = (target.parent(), prefix.to_str()) else { return };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if is_ours && keep != Some(&path) && is_abandoned(&path) {
            // What cannot be removed now is tried again by the next update.
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whether nobody fills it.
fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| match fs2::FileExt::try_lock_exclusive(&file) {
        Err(error) => !stigmer_store::lock::is_contended(&error),
        Ok(()) => true,
    })
}

/// Reserves room on the disk, where the file system can: to fail now and not in the middle.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    match fs2::FileExt::allocate(file, size) {
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
            Ok(())
        }
        other => other,
    }
}

fn named(path: &Path, action: &str, source: &io::Error) -> io::Error {
    io::Error::new(source.kind(), format!("failed to {action} `{}`: {source}", path.display()))
}
