//! A carrier to its update index, and to the compressed copy of its code part.

use super::index::{Chunk, Code, Segment, UpdateIndex, Whole};
use super::{Channel, Identity, Issued, Sha256, Target};
use rayon::prelude::*;
use stigmer_bundle::{BundleError, Carrier, Cutting, Digest, Frame, compress};

/// How the code part is cut: small, because a change in a program is spread over it, in a few bytes at a time.
const CHUNK: usize = 64 << 10;

/// What a carrier is published as, besides itself.
#[derive(Debug)]
pub struct Described {
    /// Its update index.
    pub index: UpdateIndex,
    /// The compressed copy of its code part.
    pub code: Vec<u8>,
    /// The bytes of its patches, in the order of the index.
    pub patches: Vec<Vec<u8>>,
}

/// Describes `carrier`, of which `identity` says what it is, without patches. The same carrier gives the same bytes on any host.
///
/// # Errors
/// The bundle's index is damaged, or its frames do not lie as they must.
pub fn describe(
    carrier: &Carrier,
    identity: &Identity,
    target: Target,
    channel: &Channel,
    issued: Issued,
    level: i32,
) -> Result<Described, BundleError> {
    let bytes = carrier.bytes();
    let version = &identity.version;
    let (segments, raw) = split(carrier)?;
    let cutting = code_cutting(level);
    let pieces: Vec<Vec<u8>> = cutting.pieces(&raw[..]).collect::<Result<_, _>>()?;
    let packed: Vec<(Chunk, Vec<u8>)> = pieces
        .par_iter()
        .map(|piece| {
            let packed = compress(piece, level)?;
            let chunk = Chunk {
                size: packed.len() as u64,
                blake3: Digest::of(&packed),
                raw_size: piece.len() as u64,
                raw_blake3: Digest::of(piece),
            };
            Ok((chunk, packed))
        })
        .collect::<std::io::Result<_>>()?;
    let (chunks, packed): (Vec<Chunk>, Vec<Vec<u8>>) = packed.into_iter().unzip();
    let code = packed.concat();
    let index = UpdateIndex {
        schema: 1,
        product: super::PRODUCT.to_owned(),
        version: version.clone(),
        target,
        channel: channel.clone(),
        issued,
        commit: identity.commit.clone(),
        carrier: Whole {
            name: target.carrier_name(version),
            size: bytes.len() as u64,
            blake3: Digest::of(bytes),
            sha256: Sha256::of(bytes),
        },
        code: Code {
            name: target.code_name(version),
            size: code.len() as u64,
            blake3: Digest::of(&code),
            raw_size: raw.len() as u64,
            raw_blake3: Digest::of(&raw),
            chunks,
        },
        segments,
        patches: Vec::new(),
    };
    Ok(Described { index, code, patches: Vec::new() })
}

/// How a code part is cut. Whoever looks for the same chunks in another carrier must cut alike.
pub(super) fn code_cutting(level: i32) -> Cutting {
    Cutting::around(CHUNK, level)
}

/// The carrier's segments, and its code part: all that is no frame.
fn split(carrier: &Carrier) -> Result<(Vec<Segment>, Vec<u8>), BundleError> {
    let index = carrier.index()?;
    let mut frames: Vec<&Frame> = index.components.iter().flat_map(|component| &component.frames).collect();
    frames.sort_by_key(|frame| frame.offset);
    let mut segments = Vec::new();
    let mut raw = Vec::new();
    let mut rest = carrier.bytes();
    let mut at = 0;
    for frame in frames {
        // The index was checked: its frames follow one another inside the bundle, which lies inside the file.
        let range = carrier.frame_range(frame);
        let code_len = range.start - at;
        let (code, from_frame) = cut(carrier, rest, code_len)?;
        let (bytes, after) = cut(carrier, from_frame, frame.len)?;
        if Digest::of(bytes) != frame.blake3 {
            return Err(carrier.error(stigmer_bundle::Damage(format!(
                "the frame at byte {} of the file does not match its digest",
                range.start
            ))));
        }
        if !code.is_empty() {
            segments.push(Segment::Code(code_len));
            raw.extend_from_slice(code);
        }
        segments.push(Segment::Frame { blake3: frame.blake3, size: frame.len });
        rest = after;
        at = range.end;
    }
    if !rest.is_empty() {
        segments.push(Segment::Code(rest.len() as u64));
        raw.extend_from_slice(rest);
    }
    Ok((segments, raw))
}

/// The first `len` bytes of `rest`, and those after them.
fn cut<'a>(carrier: &Carrier, rest: &'a [u8], len: u64) -> Result<(&'a [u8], &'a [u8]), BundleError> {
    usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or_else(|| carrier.error(stigmer_bundle::Damage("a frame lies outside the file".to_owned())))
}
