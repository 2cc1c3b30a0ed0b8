//! What changes from one release to the next: one thing in each case, besides the version.

use crate::figure::Bar;

/// One new release.
pub(crate) struct Change {
    /// The name of its directory.
    pub(crate) name: &'static str,
    /// What changed, for the table.
    pub(crate) what: &'static str,
    /// What an update may fetch, against a full download.
    pub(crate) bar: Bar,
    /// What is changed in the sources of the executable.
    pub(crate) code: Option<Edit>,
    /// What is changed in those of the runner.
    pub(crate) runner: Option<Edit>,
    /// How many files of the runner's tree that changes, where it is known.
    pub(crate) files: Option<usize>,
}

/// A change of one source file.
pub(crate) struct Edit {
    /// Which file.
    pub(crate) file: &'static str,
    /// Its new text; `None` if the place to change is not there.
    pub(crate) edited: fn(&str) -> Option<String>,
}

/// The releases that are updated to.
pub(crate) static CHANGES: [Change; 3] = [
    Change {
        name: "line",
        what: "one line of the runner",
        bar: Bar::RatioAtMost(0.10),
        code: None,
        runner: Some(Edit { file: "src/agent_runner/worker.py", edited: one_line }),
        files: Some(1),
    },
    Change {
        name: "rust",
        what: "a check in the Rust code",
        bar: Bar::RatioAtMost(0.12),
        code: Some(Edit { file: "src/config.rs", edited: one_check }),
        runner: None,
        files: None,
    },
    Change {
        name: "dependency",
        what: "one dependency of the runner",
        bar: Bar::Reported,
        code: None,
        runner: Some(Edit { file: "requirements.lock", edited: one_dependency }),
        files: None,
    },
];

/// A constant before the first class: all line numbers behind it change, too.
fn one_line(text: &str) -> Option<String> {
    insert(text, "\nclass ", "\nONE_MORE_LINE = \"a line that was not there\"\n\n")
}

/// A condition with a message of its own in the middle of the program: all addresses behind it change.
fn one_check(text: &str) -> Option<String> {
    const CHECK: &str = "        if text.len() > 1 << 20 {
            return Err(io::Error::other(format!(\"`{}` has more than 1 MiB\", path.display())).into());
        }
";
    insert(text, "        toml::from_str(&text).map_err(|source| ConfigError::Syntax", CHECK)
}

/// Another version than the locked one, with its hash.
fn one_dependency(text: &str) -> Option<String> {
    const PINNED: &str = "langchain-core==1.7.7 \\
    --hash=sha256:d69535f817e9ea949dabc85079dccc28b0cde04a579ec5c2273be2f7b09b859c
";
    let at = text.find("\nlangchain-core==")? + 1;
    let entry = &text[at..];
    let next = entry.match_indices('\n').map(|(end, _)| end + 1).find(|next| {
        let rest = &entry[*next..];
        !rest.starts_with(' ')
    })?;
    let is_another = !PINNED.starts_with(entry.lines().next()?);
    is_another.then(|| format!("{}{PINNED}{}", &text[..at], &entry[next..]))
}

/// `text` with `added` in front of the first `anchor`.
fn insert(text: &str, anchor: &str, added: &str) -> Option<String> {
    let at = text.find(anchor)?;
    Some(format!("{}{added}{}", &text[..at], &text[at..]))
}
