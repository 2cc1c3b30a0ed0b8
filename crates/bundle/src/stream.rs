//! The content stream of a component as something to read: its files one after another, each checked on the way.

use crate::digest::Digest;
use crate::tree_path::TreePath;
use fs_err as fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file whose content is part of a content stream.
pub(super) struct Content {
    /// Path of the file in the tree.
    pub(super) path: TreePath,
    /// BLAKE3 that the content must have.
    pub(super) digest: Digest,
}

/// Reads the files of a content stream in order.
pub(super) struct Stream {
    root: PathBuf,
    waiting: std::vec::IntoIter<Content>,
    open: Option<Open>,
}

struct Open {
    file: fs::File,
    expected: Digest,
    hasher: blake3::Hasher,
}

impl Stream {
    /// The stream of these files below `root`.
    pub(super) fn new(root: &Path, files: Vec<Content>) -> Self {
        Self { root: root.to_owned(), waiting: files.into_iter(), open: None }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(open) = &mut self.open else {
                let Some(Content { path, digest: expected }) = self.waiting.next() else {
                    return Ok(0);
                };
                self.open = Some(Open {
                    file: fs::File::open(path.below(&self.root))?,
                    expected,
                    hasher: blake3::Hasher::new(),
                });
                continue;
            };
            let count = open.file.read(buffer)?;
            if count != 0 {
                open.hasher.update(&buffer[..count]);
                return Ok(count);
            }
            if Digest::from(open.hasher.finalize()) != open.expected {
                return Err(io::Error::other(format!(
                    "`{}` changed while it was packed",
                    open.file.path().display()
                )));
            }
            self.open = None;
        }
    }
}
