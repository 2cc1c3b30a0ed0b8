//! Checking every byte of a carrier and reporting all that is wrong with it, not only the first.

use super::content::{Nowhere, State, Wanted, read};
use super::{BundleError, Carrier, Component, Digest, TreePath};

/// What is known of the bytes around the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePart {
    /// They are those the bundle was packed onto.
    AsPacked,
    /// They are not: a packager has stripped or patched the executable, or it is damaged.
    Changed,
    /// The footer does not say what they were, because they were signed after packing.
    NotRecorded,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The component.
    pub component: String,
    /// What is wrong, in the format's words.
    pub what: String,
    /// The files that are lost by it.
    pub files: Vec<TreePath>,
}

/// What a check of every byte has found.
#[derive(Debug)]
pub struct Verified {
    /// The code part.
    pub code: CodePart,
    /// Everything that is wrong with the bundle.
    pub problems: Vec<Problem>,
    /// How many files were checked.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Carrier {
    /// Whether the bytes around the bundle are still those it was packed onto. Reads them all.
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
    /// [`BundleError::Damaged`] if the index is, because nothing can be said of what it lists. All else that is wrong is
    /// in the answer.
    pub fn verify(&self) -> Result<Verified, BundleError> {
        let index = self.index()?;
        let mut verified = Verified { code: self.code_part(), problems: Vec::new(), files: 0, bytes: 0 };
        for component in &index.components {
            verified.files += component.files().count();
            verified.bytes += component.raw_len();
            verified.problems.extend(problems_of(self, component));
        }
        Ok(verified)
    }
}

fn problems_of(carrier: &Carrier, component: &Component) -> Vec<Problem> {
    let mut files: Vec<(&TreePath, u64, u64, Digest)> =
        component.files().map(|(path, _, size, at, blake3)| (path, size, at, blake3)).collect();
    files.sort_by_key(|(_, size, at, _)| (*at, *size));
    let mut wanted: Vec<_> =
        files.iter().map(|(_, size, at, blake3)| Wanted::new(*at, *size, *blake3, Nowhere)).collect();
    let bad = read(carrier, component, &mut wanted);
    let mut problems = Vec::new();
    for frame in bad {
        let mut hit: Vec<TreePath> = files
            .iter()
            .filter(|(_, size, at, _)| *at < frame.stream.end && at + size > frame.stream.start)
            .map(|(path, ..)| (*path).clone())
            .collect();
        hit.sort();
        let why = match frame.error {
            BundleError::Damaged { damage, .. } => damage.to_string(),
            other => other.to_string(),
        };
        problems.push(Problem {
            component: component.name.clone(),
            what: format!("frame {}: {why}", frame.number),
            files: hit,
        });
    }
    for ((path, ..), content) in files.into_iter().zip(wanted) {
        if matches!(content.finish(), Ok(State::Mismatch)) {
            problems.push(Problem {
                component: component.name.clone(),
                what: format!("the content of `{path}` does not match its digest"),
                files: vec![path.clone()],
            });
        }
    }
    problems
}
