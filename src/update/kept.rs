//! Agent-runners that were fetched by name and that nobody asks for any more.
//!
//! Only their bundles go. What they were signed as stays, a few hundred bytes: it says what was seen last under the name, so that no older one
//! is taken for new.

use crate::home::Home;
use serde::Serialize;
use std::io;
use std::time::Duration;

/// A runner whose bundle is kept here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The name it was published under.
    pub name: String,
    /// The size of its bundle in bytes.
    pub bytes: u64,
}

/// Removes the bundles that nobody has asked for within `max_age`, except that of `in_use`. With `dry_run` only says which.
///
/// # Errors
/// One cannot be removed. Those before it are.
pub fn collect(home: &Home, max_age: Duration, in_use: Option<&str>, dry_run: bool) -> io::Result<Vec<Kept>> {
    let mut removed = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(home.runners()).into_iter().flatten().flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let path = entry.path();
        let Some(name) = home.runner_named(&path).filter(|name| in_use != Some(*name)) else { continue };
        let Ok(meta) = entry.metadata() else { continue };
        // It is written anew whenever somebody asks for the runner.
        let asked = path.with_extension("bundle.json").metadata().and_then(|meta| meta.modified());
        let last_use = asked.or_else(|_| meta.modified());
        // A time in the future is recent.
        if !last_use.is_ok_and(|time| time.elapsed().unwrap_or_default() >= max_age) {
            continue;
        }
        if !dry_run {
            fs_err::remove_file(&path)?;
        }
        removed.push(Kept { name: name.to_owned(), bytes: meta.len() });
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_was_asked_for_lately_or_runs_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        std::fs::create_dir(home.runners()).unwrap();
        let day = Duration::from_secs(86_400);
        let put = |name: &str, age: Duration| {
            let index = home.runner(name).with_extension("bundle.json");
            std::fs::write(home.runner(name), b"12345").unwrap();
            std::fs::write(&index, b"{}").unwrap();
            let file = std::fs::File::options().write(true).open(&index).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        put("new", day);
        put("old", day * 40);
        put("used", day * 40);
        let names =
            |kept: Vec<Kept>| kept.into_iter().map(|kept| (kept.name, kept.bytes)).collect::<Vec<_>>();
        let collect = |age, dry_run| names(collect(&home, age, Some("used"), dry_run).unwrap());
        assert_eq!(collect(day * 30, true), [("old".to_owned(), 5)]);
        assert_eq!(collect(day * 30, false), [("old".to_owned(), 5)]);
        assert_eq!(collect(day * 30, false), []);
        assert!(
            home.runner("old").with_extension("bundle.json").exists(),
            "what was seen last is remembered"
        );
        assert_eq!(collect(Duration::ZERO, false), [("new".to_owned(), 5)]);
        assert!(home.runner("used").exists());
        assert_eq!(super::collect(&Home::at("/nowhere"), day, None, false).unwrap(), []);
    }
}
