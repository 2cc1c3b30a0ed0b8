//! `stigmer bundle publish`.

use super::super::output::bytes;
use super::super::{Exit, Failure, Outcome, Output};
use super::{count, signing};
use crate::bundle::Digest;
use crate::update::publish::{PublishError, Published, Publishing};
use crate::update::{Channel, Issued, Sha256, Target, TrustedKeys};
use semver::Version;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make everything that is uploaded for a release, from its carriers, and sign it.
///
/// Below DIR: `releases.json` and VERSION/TARGET/ for a static host, and with --github the same in one flat directory,
/// `github/vVERSION`. Version and target are read from the carriers, which may be for any platform. To run it again
/// changes nothing; a version that is listed is never given other bytes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A carrier; once for each target
    #[arg(long = "carrier", value_name = "FILE", required = true)]
    carriers: Vec<PathBuf>,
    /// The version that the carriers must have
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// The channel of the release
    #[arg(long, value_name = "NAME", default_value_t)]
    channel: Channel,
    /// The secret key that signs (see `stigmer bundle keygen`)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The listing to continue, with its signature beside it; the one in DIR if left out
    #[arg(long, value_name = "FILE")]
    listing: Option<PathBuf>,
    /// Public keys, one in a line, that may have signed that listing besides ours
    #[arg(long, value_name = "FILE")]
    trusted: Option<PathBuf>,
    /// Make the files for a release of this repository on GitHub, too
    #[arg(long, value_name = "OWNER/REPO", value_parser = repository)]
    github: Option<String>,
    /// Where a person reads what is new
    #[arg(long, value_name = "URL")]
    notes_url: Option<String>,
    /// When it is issued, like 2026-03-01T12:00:00Z; `SOURCE_DATE_EPOCH`, or else now, if left out
    #[arg(long, value_name = "TIME")]
    issued: Option<Issued>,
    /// How hard to compress the code part
    #[arg(long, value_name = "N", default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Make patches of the code part from so many older releases, of those whose files are in DIR
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=16))]
    patches: u8,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    version: &'a Version,
    listing: &'a Path,
    releases: usize,
    written: usize,
    targets: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    target: Target,
    dir: &'a Path,
    size: u64,
    blake3: Digest,
    sha256: Sha256,
    code: u64,
    code_compressed: u64,
    chunks: usize,
    frames: usize,
    patches: Vec<PatchRow<'a>>,
}

#[derive(Serialize)]
struct PatchRow<'a> {
    from: &'a Version,
    size: u64,
}

fn repository(text: &str) -> Result<String, String> {
    let sound = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match text.split_once('/') {
        Some((owner, name)) if sound(owner) && sound(name) => Ok(text.to_owned()),
        _ => Err("it has not the form OWNER/REPO".into()),
    }
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let issued = match self.issued {
            Some(issued) => issued,
            None => from_environment()?.unwrap_or_else(Issued::now),
        };
        let mut trusted = crate::build_info::release_keys()?;
        if let Some(file) = &self.trusted {
            for key in TrustedKeys::parse(&fs_err::read_to_string(file)?)?.iter() {
                trusted.add(key.clone());
            }
        }
        let key = signing::open(&self.key)?;
        let published = Publishing {
            carriers: &self.carriers,
            version: self.version,
            channel: self.channel,
            issued,
            notes_url: self.notes_url,
            key: &key,
            trusted,
            listing: self.listing.as_deref(),
            out: &self.out,
            github: self.github.as_deref(),
            level: self.level,
            patches: self.patches.into(),
        }
        .run()?;
        tell(output, &published)?;
        Ok(0)
    }
}

fn tell(output: Output, published: &Published) -> Result<(), Failure> {
    let rows: Vec<Row<'_>> = published.rows.iter().map(row).collect();
    for row in &rows {
        output.note(format_args!(
            "{}: {}, code part {} in {} of {}, {}",
            row.target,
            bytes(row.size),
            bytes(row.code),
            count(row.chunks, "chunk"),
            bytes(row.code_compressed),
            count(row.frames, "frame")
        ));
        for patch in &row.patches {
            output.note(format_args!("{}: from {} a patch of {}", row.target, patch.from, bytes(patch.size)));
        }
    }
    for remark in &published.remarks {
        output.note(format_args!("{remark}"));
    }
    output.note(format_args!(
        "{}: {}, {} written",
        published.listing.display(),
        count(published.releases, "release"),
        count(published.written, "file")
    ));
    if output.is_json() {
        output.json(&Report {
            version: &published.version,
            listing: &published.listing,
            releases: published.releases,
            written: published.written,
            targets: rows,
        })?;
    }
    Ok(())
}

fn row(published: &crate::update::publish::PublishedTarget) -> Row<'_> {
    let index = &published.index;
    Row {
        target: published.target,
        dir: &published.dir,
        size: index.carrier.size,
        blake3: index.carrier.blake3,
        sha256: index.carrier.sha256,
        code: index.code.raw_size,
        code_compressed: index.code.size,
        chunks: index.code.chunks.len(),
        frames: index.segments.iter().filter(|s| matches!(s, crate::update::Segment::Frame { .. })).count(),
        patches: (index.patches.iter())
            .map(|patch| PatchRow { from: &patch.from, size: patch.size })
            .collect(),
    }
}

/// The time that reproducible builds agree on.
pub(super) fn from_environment() -> Result<Option<Issued>, Failure> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let issued = text.to_str().and_then(|text| text.parse().ok()).and_then(Issued::at_unix);
    issued.map(Some).ok_or_else(|| {
        Failure::new(Exit::Config, format!("SOURCE_DATE_EPOCH is `{}`", text.display()))
            .hint("give the seconds since 1970, or the time with --issued")
    })
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Io(error) => error.into(),
            PublishError::Bundle(error) => error.into(),
            PublishError::Trust(error) => error.into(),
            PublishError::Signing(error) => error.into(),
            PublishError::Refused { .. } => Self::from_error(Exit::Failed, &error).hint(format!(
                "what is published stays what it is: {}/releasing.md says how a release is made",
                crate::DOCS_URL
            )),
        }
    }
}
