//! Checking every byte of a carrier, and reporting every problem and not only the first.

use crate::carrier::Carrier;
use crate::digest::Digest;
use crate::error::BundleError;
use crate::index::{Component, FileEntry};
use crate::pipeline::{self, Content, Fault, Sink};
use crate::tree_path::TreePath;

/// The state of the bytes around the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePart {
    /// They are the bytes that the bundle was packed onto.
    AsPacked,
    /// They differ: a packager has stripped or patched the executable, or it is damaged.
    Changed,
    /// The footer does not record them, because they are signed after packing.
    NotRecorded,
}

/// One problem of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Name of the component.
    pub component: String,
    /// What is wrong, in the terms of the format.
    pub what: String,
    /// Files that are lost by it, sorted by path.
    pub files: Vec<TreePath>,
}

/// The result of [`Carrier::verify`].
#[derive(Debug)]
pub struct Verified {
    /// State of the code part.
    pub code: CodePart,
    /// Every problem of the bundle.
    pub problems: Vec<Problem>,
    /// Number of files that were checked.
    pub files: usize,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
}

impl Carrier {
    /// Compares the bytes around the bundle with those it was packed onto. Reads them all.
    pub fn code_part(&self) -> CodePart {
        let footer = self.footer();
        if footer.code_digest == Digest::NONE {
            CodePart::NotRecorded
        } else if (footer.code_digest, footer.code_len) == self.code_digest() {
            CodePart::AsPacked
        } else {
            CodePart::Changed
        }
    }

    /// Checks every byte: index, frames, every file, and the code part.
    ///
    /// # Errors
    /// [`BundleError::Damaged`] if the index is, because its files are unknown then. All other problems are in the result.
    pub fn verify(&self) -> Result<Verified, BundleError> {
        let index = self.index()?;
        let mut verified = Verified { code: self.code_part(), problems: Vec::new(), files: 0, bytes: 0 };
        for component in &index.components {
            verified.files += component.files().count();
            verified.bytes += component.raw_len();
            verified.problems.extend(problems_of(self, component)?);
        }
        Ok(verified)
    }
}

fn problems_of(carrier: &Carrier, component: &Component) -> Result<Vec<Problem>, BundleError> {
    let contents = component.files().map(|file| Content::of(&file, Discard)).collect();
    let faults = pipeline::read_all(carrier, component, contents)?;
    let problem = |what, files| Problem { component: component.name.clone(), what, files };
    Ok(faults
        .into_iter()
        .map(|fault| match fault {
            Fault::Frame { number, range, error } => {
                let why = match error {
                    BundleError::Damaged { damage, .. } => damage.to_string(),
                    other => other.to_string(),
                };
                let is_lost = |file: &FileEntry<'_>| {
                    let content = file.range();
                    content.start < range.end && content.end > range.start
                };
                let lost = component.files().filter(is_lost).map(|file| file.path.clone()).collect();
                problem(format!("frame {number}: {why}"), lost)
            }
            Fault::Content { path } => {
                problem(format!("the content of `{path}` does not match its digest"), vec![path])
            }
        })
        .collect())
}

/// Drops the bytes: only the digest of the content matters.
struct Discard;

impl Sink for Discard {
    fn write(&self, _bytes: &[u8], _offset: u64) -> Result<(), BundleError> {
        Ok(())
    }

    fn complete(&self) -> Result<(), BundleError> {
        Ok(())
    }
}
