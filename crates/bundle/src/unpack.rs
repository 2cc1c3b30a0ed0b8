//! Writing files of a component to a directory.

use crate::carrier::Carrier;
use crate::error::BundleError;
use crate::index::Component;
use crate::pipeline::{self, Content, Sink};
use crate::tree_path::TreePath;
use fs_err as fs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// From this size on, the room of a file is reserved before it is written.
const MIN_PREALLOCATED: u64 = 1 << 20;

/// Writes the files of `component` that `is_wanted` accepts below `root`, whose directories must exist. The content of each
/// file is checked in the pass that writes it; each gets the permission bits of a stored file. `advance` is called with the number of
/// decoded bytes.
///
/// # Errors
/// The first failure. The files that were written until then stay, and the caller has to remove them.
pub fn unpack(
    carrier: &Carrier,
    component: &Component,
    root: &Path,
    is_wanted: &(dyn Fn(&TreePath) -> bool + Sync),
    advance: &(dyn Fn(u64) + Sync),
) -> Result<(), BundleError> {
    let contents = component
        .files()
        .filter(|file| is_wanted(file.path))
        .map(|file| {
            let sink = NewFile {
                path: file.path.below(root),
                size: file.size,
                mode: stigmer_platform::stored_mode(file.is_executable),
                file: Mutex::new(None),
            };
            Content::of(&file, sink)
        })
        .collect();
    pipeline::read(carrier, component, contents, advance)
}

/// A file that is created by its first bytes and closed after its last.
struct NewFile {
    path: PathBuf,
    size: u64,
    mode: u32,
    file: Mutex<Option<Arc<File>>>,
}

impl NewFile {
    fn open(&self) -> Result<Arc<File>, BundleError> {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&self.path)?;
        let file = Arc::new(file.into_parts().0);
        if self.size >= MIN_PREALLOCATED {
            self.reserve(&file)?;
        }
        *slot = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Reserves the room of the file at once: cheaper than block by block, and a full disk shows before anything is decoded for
    /// it. Where a file system cannot reserve, the write will fail instead.
    fn reserve(&self, file: &File) -> Result<(), BundleError> {
        match fs2::FileExt::allocate(file, self.size) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Err(BundleError::io(&self.path, "reserve room for", &error))
            }
            _ => Ok(()),
        }
    }
}

impl Sink for NewFile {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), BundleError> {
        stigmer_platform::write_all_at(&*self.open()?, bytes, offset)
            .map_err(|error| BundleError::io(&self.path, "write", &error))
    }

    fn complete(&self) -> Result<(), BundleError> {
        let file = self.open()?;
        stigmer_platform::set_file_mode(&file, self.mode)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
