//! Hashing many files at once, big ones in pieces, on all cores.
//!
//! BLAKE3 is a tree, so a file can be hashed in pieces of a power of two that know nothing of each other, and the pieces'
//! values merged (its paper, section 2.1; `blake3::hazmat`). One megabyte stays in a core's cache between being read and being hashed,
//! which reading through a mapping, page fault by page fault, does not beat.

use crate::bundle::Digest;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use fs_err as fs;
use rayon::prelude::*;
use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A power of two, and at least one chunk of BLAKE3.
const PIECE: u64 = 1 << 20;

thread_local! {
    /// One for each thread, and not for each share of the work that a thread takes: fresh pages cost as much as hashing
    /// what is read into them.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The digests of `files` (path and size in bytes), in order. A file that turns out shorter is an error, one that is longer too.
pub(super) fn hash_files(
    files: &[(PathBuf, u64)],
    advance: &(dyn Fn(u64) + Sync),
) -> Vec<io::Result<Digest>> {
    let pieces: Vec<(usize, u64)> = files
        .iter()
        .enumerate()
        .flat_map(|(file, (_, size))| {
            (0..size.div_ceil(PIECE).max(1)).map(move |piece| (file, piece * PIECE))
        })
        .collect();
    let values: Vec<io::Result<ChainingValue>> = pieces
        .par_iter()
        .map(|&(file, at)| {
            let (path, size) = &files[file];
            BUFFER.with_borrow_mut(|buffer| {
                let value = hash_piece(path, *size, at, buffer);
                advance(buffer.len() as u64);
                value
            })
        })
        .collect();
    let mut values = values.into_iter();
    files
        .iter()
        .map(|(_, size)| {
            let count = usize::try_from(size.div_ceil(PIECE).max(1)).unwrap_or(usize::MAX);
            // All of a file's values are taken, also after a failed one.
            let own: Vec<_> = values.by_ref().take(count).collect();
            let own: Vec<ChainingValue> = own.into_iter().collect::<io::Result<_>>()?;
            Ok(merge(&own, *size))
        })
        .collect()
}

/// The value of the piece at `at`: the file's own hash if it is the only one.
fn hash_piece(path: &PathBuf, size: u64, at: u64, buffer: &mut Vec<u8>) -> io::Result<ChainingValue> {
    let len = PIECE.min(size - at);
    buffer.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(buffer)?;
    if at + len == size && file.read(&mut [0])? != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("`{}` grew while it was read", path.display()),
        ));
    }
    let mut hasher = blake3::Hasher::new();
    if size <= PIECE {
        return Ok(*hasher.update(buffer).finalize().as_bytes());
    }
    Ok(hasher.set_input_offset(at).update(buffer).finalize_non_root())
}

/// The digest of a file of `size` bytes from the values of its pieces.
fn merge(values: &[ChainingValue], size: u64) -> Digest {
    if let [only] = values {
        return Digest::from_bytes(*only);
    }
    let (left, right) = halves(values, size);
    merge_subtrees_root(&left, &right, Mode::Hash).into()
}

fn subtree(values: &[ChainingValue], size: u64) -> ChainingValue {
    if let [only] = values {
        return *only;
    }
    let (left, right) = halves(values, size);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

fn halves(values: &[ChainingValue], size: u64) -> (ChainingValue, ChainingValue) {
    let left_len = left_subtree_len(size);
    let (left, right) = values.split_at(usize::try_from(left_len / PIECE).unwrap_or(usize::MAX));
    (subtree(left, left_len), subtree(right, size - left_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let piece = usize::try_from(PIECE).unwrap();
        let sizes = [
            0,
            1,
            piece - 1,
            piece,
            piece + 1,
            2 * piece,
            3 * piece + 7,
            5 * piece,
            8 * piece,
            9 * piece + 1,
        ];
        let files: Vec<(PathBuf, u64, Digest)> = sizes
            .iter()
            .map(|&size| {
                let path = dir.path().join(size.to_string());
                let content: Vec<u8> = (0..size).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
                std::fs::write(&path, &content).unwrap();
                (path, size as u64, Digest::of(&content))
            })
            .collect();
        let asked: Vec<_> = files.iter().map(|(path, size, _)| (path.clone(), *size)).collect();
        for (found, (path, _, expected)) in hash_files(&asked, &|_| ()).into_iter().zip(&files) {
            assert_eq!(found.unwrap(), *expected, "{}", path.display());
        }
    }

    #[test]
    fn a_shorter_or_longer_file_is_an_error_and_the_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"12345").unwrap();
        let found = hash_files(&[(path.clone(), 6), (path.clone(), 5), (path, 4)], &|_| ());
        assert!(found[0].is_err() && found[2].is_err());
        assert_eq!(found[1].as_ref().unwrap(), &Digest::of(b"12345"));
    }
}
