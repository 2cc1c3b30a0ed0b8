//! `secrets.env`: variables for the agent-runner where no shell sets them, as in a service.
//!
//! A strict subset of what is called dotenv, so that every line either means the same to everybody or is refused:
//! nothing is expanded, nothing runs over the end of a line, and a mistake is named by its line and never shown.

use super::EnvironmentError;
use crate::platform;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

/// A longer file is refused.
const MAX_FILE: u64 = 256 * 1024;

/// Reads the file; nothing, if there is none.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let mut file = match fs_err::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    // Of the open file, so that what is judged is what is read.
    let meta = file.metadata()?;
    if let Some(mode) = platform::permission_bits(&meta)
        && mode & 0o077 != 0
    {
        return Err(EnvironmentError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    let wrong =
        |line, what: &str| EnvironmentError::Syntax { path: path.to_owned(), line, what: what.to_owned() };
    let mut bytes = Vec::new();
    (&mut file).take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(1, "the file is too long"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        wrong(1 + before.split(|byte| *byte == b'\n').count() - 1, "it is not valid UTF-8")
    })?;
    parse(&text).map_err(|(line, what)| wrong(line, what))
}

/// The variables in `text`, or the number of the line that is wrong and why.
fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, &'static str)> {
    let mut found = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| (index + 1, what);
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("it is not KEY=VALUE"))?;
        if !stigmer_protocol::is_variable(name) {
            return Err(wrong("the name has other characters than letters, digits and `_`"));
        }
        let value = unquote(value.trim()).map_err(wrong)?;
        if value.contains('\0') {
            return Err(wrong("the value contains a NUL"));
        }
        if found.insert(name.to_owned(), value).is_some() {
            return Err(wrong("the name appears a second time"));
        }
    }
    found.retain(|_, value| !value.is_empty());
    Ok(found)
}

fn unquote(value: &str) -> Result<String, &'static str> {
    let open = "the quotation mark at the beginning of the value has no partner at the end of the line";
    if let Some(rest) = value.strip_prefix('\'') {
        let inner = rest.strip_suffix('\'').ok_or(open)?;
        return if inner.contains('\'') {
            Err("the value has a quotation mark in its midst")
        } else {
            Ok(inner.to_owned())
        };
    }
    let Some(rest) = value.strip_prefix('"') else {
        return if value.contains(" #") || value.contains("\t#") {
            Err(
                "put the value in quotation marks if the # belongs to it, else the remark on a line of its own",
            )
        } else {
            Ok(value.to_owned())
        };
    };
    let mut text = String::new();
    let mut rest = rest.chars();
    loop {
        match rest.next() {
            None => return Err(open),
            Some('"') if rest.as_str().is_empty() => return Ok(text),
            Some('"') => return Err("the value has a quotation mark in its midst"),
            Some('\\') => match rest.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(same @ ('"' | '\\' | '$')) => text.push(same),
                _ => return Err(r#"in double quotation marks only \n, \t, \", \\ and \$ may follow a \"#),
            },
            Some(other) => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_page_says_is_read() {
        let text = "\u{feff}# remark\n\nA=plain value \nexport B='single \\n # $x'\r\nC=\"a\\nb\\\"c\\\\d\\$e\"\n_d9=x=y#z\nEMPTY=\n";
        let found = parse(text).expect("read");
        let expected =
            [("A", "plain value"), ("B", "single \\n # $x"), ("C", "a\nb\"c\\d$e"), ("_d9", "x=y#z")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn what_could_mean_two_things_is_refused_with_its_line() {
        for wrong in [
            "A",
            "=x",
            "A B=x",
            "9A=x",
            "A-B=x",
            "A =x",
            "A='x",
            "A='x'y'",
            "A=\"x",
            "A=\"x\"y",
            "A=\"\\q\"",
            "A=\"x\\\"",
            "A=x # remark",
            "A=1\nA=2",
            "A=\0",
        ] {
            let text = format!("# one\n{wrong}\n");
            let (line, what) = parse(&text).expect_err(wrong);
            assert_eq!(line, 1 + text.trim_end().lines().count() - 1, "{wrong}: {what}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn any_value_can_be_written_in_double_quotes(value in "[^\r\n\0]{1,40}") {
            let quoted = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
            let found = parse(&format!("KEY=\"{quoted}\"")).expect("read");
            prop_assert_eq!(&found["KEY"], &value);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secrets.env");
        assert_eq!(read(&path).expect("none").len(), 0);
        fs_err::write(&path, "KEY=value-4711\n").expect("written");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            let outcome = read(&path);
            assert_eq!(outcome.is_ok(), fine, "{mode:o}");
            assert!(!format!("{outcome:?}").contains("4711") || fine);
        }
        fs_err::write(&path, b"A=1\nB=\xff\n").expect("written");
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
        let error = read(&path).expect_err("no text").to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
