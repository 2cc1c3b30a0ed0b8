//! What the size of frames, the way of cutting, the order of files and the level of zstd cost on a real tree.
//!
//! The table in `docs/bundle-format.md` and the decision in `docs/decisions/0002-frame-size.md` come from here:
//!
//! ```text
//! cargo bench --bench frame_sizes -- DIR [FILTER]
//! ```
//!
//! `DIR` is a component's tree. Each line is one way of packing it: bytes compressed, seconds to compress, milliseconds to
//! decode everything with two threads (best of five), and bytes to fetch after a small change. The change is that
//! of one line of one module in the largest executable: some bytes are inserted in its middle, so all that
//! follows moves, and its last 256 KiB, where an archive has its table of contents, differ every 32 bytes.
//! `FILTER` runs only the ways whose name contains it.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use rayon::prelude::*;
use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stigmer::bundle::{Cutting, Digest, compress};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Path,
    Extension,
    Size,
}

#[derive(Clone, Copy)]
enum Cut {
    Content,
    Fixed,
    /// Content-defined, but no frame holds bytes of two files unless both are small.
    AtFiles,
}

struct Way {
    name: String,
    order: Order,
    cut: Cut,
    average: usize,
    level: i32,
    dictionary: usize,
}

struct File {
    path: PathBuf,
    bytes: Vec<u8>,
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench` to the arguments of every benchmark.
    let mut args = std::env::args_os().skip(1).filter(|arg| arg != "--bench");
    let dir = args.next().ok_or("usage: frame_sizes DIR [FILTER]")?;
    let filter = args.next().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
    let mut files = Vec::new();
    read(Path::new(&dir), &mut files)?;
    let mut changed = Vec::new();
    let biggest = files.iter().filter(|f| f.path.extension().is_none()).max_by_key(|f| f.bytes.len());
    let biggest = biggest.ok_or("the tree has no executable")?.path.clone();
    for file in &files {
        let bytes = if file.path == biggest { change(&file.bytes) } else { file.bytes.clone() };
        changed.push(File { path: file.path.clone(), bytes });
    }
    let raw: usize = files.iter().map(|f| f.bytes.len()).sum();
    println!("{} files, {raw} bytes, changed: {}", files.len(), biggest.display());
    println!("| way | frames | compressed | s | decode ms | fetched | share |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for way in ways().into_iter().filter(|w| w.name.contains(&filter)) {
        measure(&way, &files, &changed)?;
    }
    Ok(())
}

fn ways() -> Vec<Way> {
    let way = |name: &str, average, level| Way {
        name: name.into(),
        order: Order::Extension,
        cut: Cut::Content,
        average,
        level,
        dictionary: 0,
    };
    let mut ways = Vec::new();
    for kib in [256, 512, 1024, 2048, 4096] {
        ways.push(way(&format!("{kib} KiB, -19"), kib << 10, 19));
    }
    ways.push(way("1024 KiB, -15", 1 << 20, 15));
    ways.push(way("1024 KiB, -22", 1 << 20, 22));
    ways.push(way("2048 KiB, -22", 2 << 20, 22));
    ways.push(Way { order: Order::Path, ..way("1024 KiB, -19, by path", 1 << 20, 19) });
    ways.push(Way { order: Order::Size, ..way("1024 KiB, -19, by extension and size", 1 << 20, 19) });
    ways.push(Way { cut: Cut::AtFiles, ..way("1024 KiB, -19, cut at files", 1 << 20, 19) });
    ways.push(Way { cut: Cut::Fixed, ..way("1024 KiB, -19, fixed cuts", 1 << 20, 19) });
    for kib in [256, 1024] {
        ways.push(Way {
            dictionary: 112 << 10,
            ..way(&format!("{kib} KiB, -19, dictionary of 112 KiB"), kib << 10, 19)
        });
    }
    ways
}

fn read(dir: &Path, files: &mut Vec<File>) -> Outcome<()> {
    for found in std::fs::read_dir(dir)? {
        let path = found?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            read(&path, files)?;
        } else {
            files.push(File { bytes: std::fs::read(&path)?, path });
        }
    }
    Ok(())
}

/// The change of one line, as an archive of modules shows it.
fn change(bytes: &[u8]) -> Vec<u8> {
    let middle = bytes.len() / 2;
    let mut out = [&bytes[..middle], b"one more constant in one module", &bytes[middle..]].concat();
    let end = out.len();
    for at in (end.saturating_sub(256 << 10)..end).step_by(32) {
        out[at] ^= 0x55;
    }
    out
}

fn pieces(way: &Way, files: &[File]) -> Outcome<Vec<Vec<u8>>> {
    let mut order: Vec<&File> = files.iter().collect();
    order.sort_by_key(|file| {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = if name.contains(".so.") {
            "so".to_owned()
        } else {
            name.rsplit_once('.').map(|(_, e)| e.to_owned()).unwrap_or_default()
        };
        let size = if way.order == Order::Size { file.bytes.len() } else { 0 };
        let extension = if way.order == Order::Path { String::new() } else { extension };
        (extension, size, file.path.clone())
    });
    let cutting = Cutting::around(way.average, way.level);
    let content = |bytes: &[u8]| cutting.pieces(bytes).collect::<Result<Vec<_>, _>>();
    let stream: Vec<u8> = order.iter().flat_map(|file| &file.bytes).copied().collect();
    Ok(match way.cut {
        Cut::Content => content(&stream)?,
        Cut::Fixed => stream.chunks(way.average).map(<[u8]>::to_vec).collect(),
        Cut::AtFiles => {
            let mut out = Vec::new();
            let mut group = Vec::new();
            for file in order {
                if file.bytes.len() >= cutting.min {
                    out.extend(content(&file.bytes)?);
                } else {
                    group.extend_from_slice(&file.bytes);
                    if group.len() >= way.average {
                        out.push(std::mem::take(&mut group));
                    }
                }
            }
            out.push(group);
            out.retain(|piece| !piece.is_empty());
            out
        }
    })
}

fn pack(way: &Way, pieces: &[Vec<u8>], dictionary: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    let frames = pieces.par_iter().map(|piece| {
        if dictionary.is_empty() {
            compress(piece, way.level)
        } else {
            zstd::bulk::Compressor::with_dictionary(way.level, dictionary)?.compress(piece)
        }
    });
    Ok(frames.collect::<Result<Vec<_>, _>>()?)
}

fn decode(frames: &[Vec<u8>], dictionary: &[u8], room: usize) -> Outcome<Duration> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        threads.install(|| {
            frames.par_iter().try_for_each_init(
                || (zstd::bulk::Decompressor::with_dictionary(dictionary), vec![0; room]),
                |(decoder, buffer), frame| {
                    let decoder = decoder.as_mut().map_err(|e| std::io::Error::other(e.to_string()))?;
                    decoder.decompress_to_buffer(frame, &mut buffer[..]).map(|_| ())
                },
            )
        })?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

fn measure(way: &Way, files: &[File], changed: &[File]) -> Outcome<()> {
    let before = pieces(way, files)?;
    let dictionary = if way.dictionary == 0 {
        Vec::new()
    } else {
        let samples: Vec<&[u8]> = before.iter().flat_map(|p| p.chunks(64 << 10).step_by(8)).collect();
        zstd::dict::from_samples(&samples, way.dictionary)?
    };
    let begun = Instant::now();
    let frames = pack(way, &before, &dictionary)?;
    let took = begun.elapsed();
    let room = before.iter().map(Vec::len).max().unwrap_or(0);
    let decoded = decode(&frames, &dictionary, room)?;
    // Equal content gives equal frames, so only what is new has to be compressed again.
    let known: HashSet<Digest> = before.iter().map(|piece| Digest::of(piece)).collect();
    let fresh: Vec<Vec<u8>> =
        pieces(way, changed)?.into_iter().filter(|piece| !known.contains(&Digest::of(piece))).collect();
    let fetched: usize = pack(way, &fresh, &dictionary)?.iter().map(Vec::len).sum();
    let total: usize = frames.iter().map(Vec::len).sum::<usize>() + dictionary.len();
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    let share = 100.0 * fetched as f64 / total as f64;
    println!(
        "| {} | {} | {total} | {:.1} | {:.0} | {fetched} | {share:.1} % |",
        way.name,
        frames.len(),
        took.as_secs_f64(),
        decoded.as_secs_f64() * 1000.0
    );
    Ok(())
}
