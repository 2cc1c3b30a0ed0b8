//! Hashing many files at once, big ones in pieces, on all cores.
//!
//! BLAKE3 is a tree, so a file can be hashed in pieces of a power of two that know nothing of each other, and the pieces'
//! values merged (its paper, section 2.1; `blake3::hazmat`). One megabyte stays in a core's cache between being read and being hashed,
//! which reading through a mapping, page fault by page fault, does not beat.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use fs_err as fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use stigmer_bundle::Digest;

/// A power of two, and at least one chunk of BLAKE3.
const PIECE: u64 = 1 << 20;

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
    let values = hash_pieces(files, &pieces, advance);
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

/// The values of `pieces` (a file's number and a place in it), in order.
///
/// This thread works as well, instead of waiting for others that the system may have put on one core: the whole takes ten
/// milliseconds, and evening that out would take it as long.
fn hash_pieces(
    files: &[(PathBuf, u64)],
    pieces: &[(usize, u64)],
    advance: &(dyn Fn(u64) + Sync),
) -> Vec<io::Result<ChainingValue>> {
    let next = AtomicUsize::new(0);
    let work = || {
        // One buffer for each thread: fresh pages cost as much as hashing what is read into them.
        let (mut buffer, mut done) = (Vec::new(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(file, at)) = pieces.get(number) else { return done };
            let (path, size) = &files[file];
            done.push((number, hash_piece(path, *size, at, &mut buffer)));
            advance(buffer.len() as u64);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pieces.len());
    let mut values: Vec<(usize, io::Result<ChainingValue>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut values = work();
        for other in others {
            match other.join() {
                Ok(done) => values.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        values
    });
    values.sort_unstable_by_key(|(number, _)| *number);
    values.into_iter().map(|(_, value)| value).collect()
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
