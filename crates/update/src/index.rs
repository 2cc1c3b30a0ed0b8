//! The update index: one carrier, described to its last byte and signed.
//!
//! A carrier is a sequence of runs: pieces of its *code part*, and frames. The code part is everything that is no frame: the
//! executable itself, and of the bundle its head, index and footer. It is small, and is published compressed, in chunks that
//! decode independently; frames are compressed already and are fetched out of the carrier. Both are found again in the
//! executable that is to be updated, by their digests, so that only what changed is fetched.
//!
//! An index that comes out of [`UpdateIndex::trusted`] is signed and sound: its runs cover the carrier exactly and use up the code
//! part exactly, and no sum of it overflows.

use super::trust::{self, Asked, Signed, TrustError, malformed};
use super::{Channel, Issued, Sha256, Target, TrustedKeys};
use semver::Version;
use serde::{Deserialize, Serialize};
use stigmer_bundle::{Digest, Limits};

/// Hard limits of schema 1.
#[derive(Debug, Clone, Copy)]
pub struct IndexLimits;

impl IndexLimits {
    /// Longest update index in bytes.
    pub const LEN: u64 = 8 << 20;
    /// Largest carrier in bytes.
    pub const CARRIER: u64 = 16 << 30;
    /// Largest code part in bytes.
    pub const CODE_RAW: u64 = 1 << 30;
    /// Largest decoded chunk in bytes.
    pub const CHUNK_RAW: u64 = 4 << 20;
    /// Longest compressed chunk or frame in bytes: what zstd makes of the largest that does not compress.
    pub const COMPRESSED: u64 = Limits::FRAME_RAW + (1 << 17);
    /// Most chunks.
    pub const CHUNKS: usize = 65_536;
    /// Most segments.
    pub const SEGMENTS: usize = 200_000;
    /// Most patches.
    pub const PATCHES: usize = 16;
}

/// The update index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateIndex {
    /// The version of this form: 1.
    pub schema: u64,
    /// Whose it is: `stigmer`.
    pub product: String,
    /// The version of the release.
    pub version: Version,
    /// The target.
    pub target: Target,
    /// The channel.
    pub channel: Channel,
    /// When it was issued.
    pub issued: Issued,
    /// The commit the executable was built from, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The carrier.
    pub carrier: Whole,
    /// The compressed copy of its code part.
    pub code: Code,
    /// The carrier from its first byte to its last.
    pub segments: Vec<Segment>,
    /// What makes its code part of that of an older version. To have none is no loss but of bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
}

/// The carrier as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// Its file name in the release.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// BLAKE3 of it.
    pub blake3: Digest,
    /// SHA-256 of it.
    pub sha256: Sha256,
}

/// The code part, and the file that holds it compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// The file's name in the release.
    pub name: String,
    /// The file's size in bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    pub blake3: Digest,
    /// The size of the code part in bytes.
    pub raw_size: u64,
    /// BLAKE3 of the code part.
    pub raw_blake3: Digest,
    /// The file's chunks, one after another without a gap.
    pub chunks: Vec<Chunk>,
}

/// A file that makes the code part of that of one older version: a zstd frame, compressed with the older one as its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// The older version.
    pub from: Version,
    /// BLAKE3 of its code part.
    pub from_blake3: Digest,
    /// The file's name in the release.
    pub name: String,
    /// The file's size in bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    pub blake3: Digest,
}

/// One independent zstd frame of the code part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, Digest, u64, Digest)", from = "(u64, Digest, u64, Digest)")]
pub struct Chunk {
    /// How many bytes of the file it takes.
    pub size: u64,
    /// BLAKE3 of them.
    pub blake3: Digest,
    /// How many bytes of the code part it decodes to.
    pub raw_size: u64,
    /// BLAKE3 of them.
    pub raw_blake3: Digest,
}

impl From<(u64, Digest, u64, Digest)> for Chunk {
    fn from((size, blake3, raw_size, raw_blake3): (u64, Digest, u64, Digest)) -> Self {
        Self { size, blake3, raw_size, raw_blake3 }
    }
}

impl From<Chunk> for (u64, Digest, u64, Digest) {
    fn from(chunk: Chunk) -> Self {
        (chunk.size, chunk.blake3, chunk.raw_size, chunk.raw_blake3)
    }
}

/// One run of the carrier's bytes, as it is written: `{"code": 4096}` or `{"frame": "…", "size": 12}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "WrittenSegment", try_from = "WrittenSegment")]
pub enum Segment {
    /// The next so many bytes of the code part.
    Code(u64),
    /// A frame of the bundle, as the bundle's own index has it.
    Frame {
        /// BLAKE3 of its compressed bytes.
        blake3: Digest,
        /// How many they are.
        size: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSegment {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl From<Segment> for WrittenSegment {
    fn from(segment: Segment) -> Self {
        match segment {
            Segment::Code(size) => Self { code: Some(size), frame: None, size: None },
            Segment::Frame { blake3, size } => Self { code: None, frame: Some(blake3), size: Some(size) },
        }
    }
}

impl TryFrom<WrittenSegment> for Segment {
    type Error = String;

    fn try_from(w: WrittenSegment) -> Result<Self, String> {
        match (w.code, w.frame, w.size) {
            (Some(size), None, None) => Ok(Self::Code(size)),
            (None, Some(blake3), Some(size)) => Ok(Self::Frame { blake3, size }),
            _ => Err("a segment is either `code`, or `frame` with `size`".into()),
        }
    }
}

impl Segment {
    fn size(self) -> u64 {
        match self {
            Self::Code(size) | Self::Frame { size, .. } => size,
        }
    }
}

/// Where a segment lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its first byte in the carrier.
    pub at: u64,
    /// How many bytes.
    pub size: u64,
    /// What they are.
    pub what: What,
}

/// What a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Bytes of the code part.
    Code {
        /// The first of them in the code part.
        raw_at: u64,
    },
    /// A frame.
    Frame {
        /// BLAKE3 of its compressed bytes.
        blake3: Digest,
    },
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its first byte in the file.
    pub at: u64,
    /// Its first byte in the code part.
    pub raw_at: u64,
    /// The chunk.
    pub chunk: Chunk,
}

impl UpdateIndex {
    /// The trusted comment of its signature.
    pub fn purpose(version: &Version, target: Target) -> String {
        format!("{} {version} {target} index", super::PRODUCT)
    }

    /// The index in `signed`, if it may be believed and is what was asked for.
    ///
    /// # Errors
    /// Every reason has its own: see [`TrustError`].
    pub fn trusted(signed: &Signed<'_>, keys: &TrustedKeys, asked: &Asked) -> Result<Self, TrustError> {
        let name = signed.name;
        let checked = signed.check(keys)?;
        let index = Self::parse(name, signed.bytes)?;
        if index.target != asked.target {
            return Err(TrustError::OtherTarget {
                name: name.to_owned(),
                found: index.target,
                wanted: asked.target,
            });
        }
        if index.version != asked.version {
            return Err(TrustError::OtherVersion {
                name: name.to_owned(),
                found: index.version,
                wanted: asked.version.clone(),
            });
        }
        checked.expect_purpose(&Self::purpose(&index.version, index.target))?;
        if asked.blake3.is_some_and(|listed| listed != Digest::of(signed.bytes)) {
            return Err(TrustError::NotTheListed { name: name.to_owned() });
        }
        Ok(index)
    }

    /// Reads an index and checks every rule of its form. It is not believed by that: see [`UpdateIndex::trusted`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() as u64 > IndexLimits::LEN {
            return Err(malformed(
                name,
                format!("{} bytes; at most {} are possible", bytes.len(), IndexLimits::LEN),
            ));
        }
        trust::expect_schema(name, bytes)?;
        let index: Self = serde_json::from_slice(bytes).map_err(|e| malformed(name, e))?;
        trust::expect_product(name, &index.product)?;
        index.check().map_err(|reason| malformed(name, reason))?;
        Ok(index)
    }

    /// Its bytes as they are published and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        // One segment or chunk a line would be nicer to read, and the whole twice as long; `jq` makes it so.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The carrier's runs, in order: together all of its bytes.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let (mut at, mut raw_at) = (0, 0);
        self.segments.iter().map(move |segment| {
            let size = segment.size();
            let what = match *segment {
                Segment::Code(_) => {
                    raw_at += size;
                    What::Code { raw_at: raw_at - size }
                }
                Segment::Frame { blake3, .. } => What::Frame { blake3 },
            };
            at += size;
            Run { at: at - size, size, what }
        })
    }

    fn check(&self) -> Result<(), String> {
        for (what, found, wanted) in [
            ("carrier", &self.carrier.name, self.target.carrier_name(&self.version)),
            ("code", &self.code.name, self.target.code_name(&self.version)),
        ] {
            if *found != wanted {
                return Err(format!("{what}: its name is {wanted:?}, not {:?}", shortened(found)));
            }
        }
        let commit_len = self.commit.as_ref().map_or(0, String::len);
        if commit_len > 64 {
            return Err(format!("commit: {commit_len} bytes; at most 64 are possible"));
        }
        bounded("carrier: its size", self.carrier.size, IndexLimits::CARRIER)?;
        self.code.check()?;
        self.check_patches()?;
        self.check_segments()
    }

    fn check_patches(&self) -> Result<(), String> {
        if self.patches.len() > IndexLimits::PATCHES {
            let (found, most) = (self.patches.len(), IndexLimits::PATCHES);
            return Err(format!("{found} patches; at most {most} are possible"));
        }
        for (i, patch) in self.patches.iter().enumerate() {
            let wanted = self.target.patch_name(&self.version, &patch.from);
            if patch.name != wanted {
                return Err(format!("patch {i}: its name is {wanted:?}, not {:?}", shortened(&patch.name)));
            }
            if patch.from >= self.version || !patch.from.build.is_empty() {
                return Err(format!("patch {i}: {} is no older version", patch.from));
            }
            if self.patches[..i].iter().any(|other| other.from == patch.from) {
                return Err(format!("patch {i}: there is one from {} already", patch.from));
            }
            // One as large as what it stands for is of no use, and nobody need keep room for it.
            bounded(&format!("patch {i}: its size"), patch.size, self.code.size)?;
        }
        Ok(())
    }

    fn check_segments(&self) -> Result<(), String> {
        if self.segments.len() > IndexLimits::SEGMENTS {
            return Err(format!(
                "{} segments; at most {} are possible",
                self.segments.len(),
                IndexLimits::SEGMENTS
            ));
        }
        let (mut size, mut raw_size, mut after_code) = (0_u64, 0_u64, false);
        for (i, segment) in self.segments.iter().enumerate() {
            let limit = match segment {
                Segment::Code(_) => IndexLimits::CODE_RAW,
                Segment::Frame { .. } => IndexLimits::COMPRESSED,
            };
            bounded(&format!("segment {i}: its size"), segment.size(), limit)?;
            // At most 200,000 times 1 GiB: no sum of these overflows.
            size += segment.size();
            let is_code = matches!(segment, Segment::Code(_));
            if is_code {
                raw_size += segment.size();
                if after_code {
                    return Err(format!("segment {i}: it continues the one before, so they are one"));
                }
            }
            after_code = is_code;
        }
        if size != self.carrier.size {
            return Err(format!("the segments take {size} bytes, the carrier has {}", self.carrier.size));
        }
        if raw_size != self.code.raw_size {
            return Err(format!(
                "the segments use {raw_size} bytes of the code part, which has {}",
                self.code.raw_size
            ));
        }
        Ok(())
    }
}

impl Code {
    /// The chunks with their places: together all of the file, and all of the code part.
    pub fn placed(&self) -> impl Iterator<Item = Placed> {
        let (mut at, mut raw_at) = (0, 0);
        self.chunks.iter().map(move |chunk| {
            let placed = Placed { at, raw_at, chunk: *chunk };
            at += chunk.size;
            raw_at += chunk.raw_size;
            placed
        })
    }

    fn check(&self) -> Result<(), String> {
        bounded("code: its raw size", self.raw_size, IndexLimits::CODE_RAW)?;
        if self.chunks.len() > IndexLimits::CHUNKS {
            return Err(format!(
                "code: {} chunks; at most {} are possible",
                self.chunks.len(),
                IndexLimits::CHUNKS
            ));
        }
        let (mut size, mut raw_size) = (0_u64, 0_u64);
        for (i, chunk) in self.chunks.iter().enumerate() {
            bounded(&format!("chunk {i}: its size"), chunk.size, IndexLimits::COMPRESSED)?;
            bounded(&format!("chunk {i}: its raw size"), chunk.raw_size, IndexLimits::CHUNK_RAW)?;
            // At most 65,536 times 17 MiB: no sum of these overflows.
            size += chunk.size;
            raw_size += chunk.raw_size;
        }
        if size != self.size {
            return Err(format!("code: its chunks take {size} bytes, the file has {}", self.size));
        }
        if raw_size != self.raw_size {
            return Err(format!(
                "code: its chunks decode to {raw_size} bytes, the code part has {}",
                self.raw_size
            ));
        }
        Ok(())
    }
}

/// A size must be at least one, and at most `limit`.
fn bounded(what: &str, size: u64, limit: u64) -> Result<(), String> {
    if (1..=limit).contains(&size) {
        return Ok(());
    }
    Err(format!("{what} is {size}; 1 to {limit} are possible"))
}

/// The beginning of a text that may be of any length.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
