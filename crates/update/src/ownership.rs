//! Who looks after this installation: us, or somebody who would be surprised.
//!
//! A file that a package manager has put there is that program's: replacing it works, and then its next upgrade
//! undoes it, fails, or believes in a version that is not there. So this is asked before anything else, without the network, and
//! the answer names the owner and the command that does what was wanted.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

/// The file by which a packager says that the installation is theirs; its text is shown to whoever asks for an update. It
/// lies beside the executable, or in `../share/stigmer/`.
pub const MARKER: &str = "stigmer.managed";
/// How much of its text is shown.
const MARKER_LEN: usize = 4096;

/// Somebody else who looks after the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Who, for people: `Homebrew`.
    pub name: String,
    /// What to do instead. A command, or the packager's own words.
    pub advice: String,
    /// Whether new releases arrive there later than with us, so that one we know of may not be there yet.
    pub lags: bool,
}

impl Owner {
    fn new(name: &str, advice: impl Into<String>) -> Self {
        Self { name: name.to_owned(), advice: advice.into(), lags: false }
    }
}

/// Who owns the executable at `path`, which must be its real place and not a link; `None` if we do.
///
/// Asks files first, and then, for places below `/usr` and `/opt`, the system's package managers.
pub fn owner(path: &Path) -> Option<Owner> {
    marker(path).or_else(|| by_place(path)).or_else(|| cargo(path)).or_else(|| system_package(path))
}

/// The same without starting another program: for a remark at the end of some command.
pub fn owner_by_files(path: &Path) -> Option<Owner> {
    marker(path).or_else(|| by_place(path)).or_else(|| cargo(path))
}

/// What a packager says.
fn marker(path: &Path) -> Option<Owner> {
    let dir = path.parent()?;
    let beside = dir.join(MARKER);
    let shared = dir.parent().map(|prefix| prefix.join("share").join("stigmer").join(MARKER));
    let text = [Some(beside), shared].into_iter().flatten().find_map(|file| std::fs::read(file).ok())?;
    let text = String::from_utf8_lossy(&text[..text.len().min(MARKER_LEN)]);
    // Nothing of a packager's is allowed to move a cursor.
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let text = text.trim();
    let advice = if text.is_empty() { "use the program that installed it" } else { text };
    Some(Owner::new("a packager", advice))
}

/// What the place itself says.
fn by_place(path: &Path) -> Option<Owner> {
    let names: Vec<&str> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    // The names that stand behind `these` ones, wherever those are.
    let behind = |these: &[&str]| {
        names
            .windows(these.len())
            .position(|window| window.iter().zip(these).all(|(a, b)| a.eq_ignore_ascii_case(b)))
            .map(|at| &names[at + these.len()..])
    };
    if let Some(rest) = behind(&["Cellar"])
        && let [formula, ..] = rest
    {
        let advice = format!("brew update && brew upgrade {formula}");
        return Some(Owner { lags: true, ..Owner::new("Homebrew", advice) });
    }
    if path.starts_with("/nix/store") || path.starts_with("/gnu/store") {
        let (name, advice) = if path.starts_with("/nix") {
            (
                "Nix",
                "update the flake or channel it comes from, then `nix profile upgrade stigmer` or rebuild",
            )
        } else {
            ("Guix", "guix pull && guix upgrade stigmer")
        };
        return Some(Owner::new(name, advice));
    }
    if let Some(rest) = behind(&["scoop", "apps"])
        && let [app, ..] = rest
    {
        return Some(Owner::new("Scoop", format!("scoop update {app}")));
    }
    if behind(&["Microsoft", "WinGet", "Packages"]).is_some() || behind(&["WinGet", "Packages"]).is_some() {
        return Some(Owner::new("WinGet", "winget upgrade stigmer"));
    }
    if behind(&["chocolatey", "lib"]).is_some() {
        return Some(Owner::new("Chocolatey", "choco upgrade stigmer"));
    }
    if let Some([tool, ..]) = behind(&["mise", "installs"]) {
        return Some(Owner::new("mise", format!("mise upgrade {tool}")));
    }
    if let Some([tool, ..]) = behind(&[".asdf", "installs"]).or_else(|| behind(&["asdf", "installs"])) {
        return Some(Owner::new("asdf", format!("asdf install {tool} latest && asdf set {tool} latest")));
    }
    if path.starts_with("/snap") {
        return Some(Owner::new("Snap", "snap refresh stigmer"));
    }
    None
}

/// `cargo install` keeps a list of what it has put into its `bin`.
fn cargo(path: &Path) -> Option<Owner> {
    let dir = path.parent()?;
    if dir.file_name() != Some(OsStr::new("bin")) {
        return None;
    }
    let name = path.file_name()?.to_str()?;
    let list = std::fs::read_to_string(dir.parent()?.join(".crates.toml")).ok()?;
    // "stigmer 0.1.0 (registry+…)" = ["stigmer"]
    let package = list.lines().find_map(|line| {
        let (package, programs) = line.split_once(" = ")?;
        let package = package.trim_matches('"').split(' ').next()?;
        programs.contains(&format!("\"{name}\"")).then(|| package.to_owned())
    })?;
    Some(Owner::new("cargo", format!("cargo install {package}")))
}

/// The package of the system that holds `path`.
fn system_package(path: &Path) -> Option<Owner> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    // What an administrator installs by hand belongs below /usr/local, and no package may.
    let is_theirs = ["/usr", "/opt", "/bin", "/sbin"].iter().any(|prefix| path.starts_with(prefix))
        && !path.starts_with("/usr/local");
    if !is_theirs {
        return None;
    }
    let package = |program: &str, args: &[&str], upgrade: &str| {
        let said = ask(program, args, path)?;
        Some((package_name(program, &said)?, upgrade.to_owned()))
    };
    let (name, manager, upgrade) = None
        .or_else(|| {
            package("dpkg", &["-S"], "sudo apt-get update && sudo apt-get install --only-upgrade")
                .map(|(name, upgrade)| (name, "dpkg", upgrade))
        })
        .or_else(|| {
            package("rpm", &["-qf", "--queryformat", "%{NAME}"], "sudo dnf upgrade")
                .map(|(name, upgrade)| (name, "RPM", upgrade))
        })
        .or_else(|| {
            package("pacman", &["-Qqo"], "sudo pacman -Syu").map(|(name, upgrade)| (name, "pacman", upgrade))
        })
        .or_else(|| {
            package("apk", &["info", "-qW"], "sudo apk upgrade").map(|(name, upgrade)| (name, "apk", upgrade))
        })?;
    Some(Owner::new(&format!("{manager}, as the package `{name}`"), format!("{upgrade} {name}")))
}

/// What the package manager says of `path`; `None` if it knows nothing of it or is not there.
fn ask(program: &str, args: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The package in the answer of its manager.
fn package_name(program: &str, said: &str) -> Option<String> {
    let line = said.lines().next()?;
    // dpkg: "stigmer: /usr/bin/stigmer", with an architecture behind another colon where there are several.
    let name = if program == "dpkg" { line.split([':', ',']).next()? } else { line }.trim();
    let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
    sound.then(|| name.to_owned())
}

/// Where the executable that is running really lies: behind every link, and the file of that name if an update has
/// replaced it since it was started.
pub(super) fn installed() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    // Linux says "/usr/bin/stigmer (deleted)" of a file that was replaced.
    let text = path.as_os_str().to_str().unwrap_or_default();
    let path = match text.strip_suffix(" (deleted)") {
        Some(before) if !path.exists() => PathBuf::from(before),
        _ => path,
    };
    fs_err::canonicalize(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Option<(String, String)> {
        by_place(Path::new(path)).map(|owner| (owner.name, owner.advice))
    }

    #[test]
    fn each_manager_is_known_by_its_place() {
        for (path, name, advice) in [
            (
                "/opt/homebrew/Cellar/stigmer/1.0/bin/stigmer",
                "Homebrew",
                "brew update && brew upgrade stigmer",
            ),
            ("/home/linuxbrew/.linuxbrew/Cellar/stigmer/1.0/bin/stigmer", "Homebrew", "brew upgrade stigmer"),
            ("/usr/local/Cellar/stigmer@1/1.0/bin/stigmer", "Homebrew", "brew upgrade stigmer@1"),
            ("/nix/store/abc-stigmer-1.0/bin/stigmer", "Nix", "nix profile upgrade"),
            ("/gnu/store/abc-stigmer-1.0/bin/stigmer", "Guix", "guix upgrade"),
            ("/home/a/.local/share/mise/installs/stigmer/1.0/bin/stigmer", "mise", "mise upgrade stigmer"),
            ("/home/a/.asdf/installs/stigmer/1.0/bin/stigmer", "asdf", "asdf install stigmer latest"),
            ("/c/Users/a/scoop/apps/stigmer/current/stigmer.exe", "Scoop", "scoop update stigmer"),
            ("/c/Users/a/AppData/Local/Microsoft/WinGet/Packages/x/stigmer.exe", "WinGet", "winget upgrade"),
            ("/snap/stigmer/1/bin/stigmer", "Snap", "snap refresh"),
        ] {
            let (found, command) = place(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(found, name, "{path}");
            assert!(command.contains(advice), "{path}: {command}");
        }
        for ours in
            ["/home/a/.local/bin/stigmer", "/usr/local/bin/stigmer", "/opt/stigmer/stigmer", "/home/Cellar"]
        {
            assert_eq!(place(ours), None, "{ours}");
        }
    }

    #[test]
    fn a_packager_speaks_for_itself_beside_the_program_or_below_share() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let share = dir.path().join("share/stigmer");
        std::fs::create_dir(&bin).unwrap();
        std::fs::create_dir_all(&share).unwrap();
        let exe = bin.join("stigmer");
        assert_eq!(owner(&exe), None);
        std::fs::write(share.join(MARKER), "run \u{1b}[31mour-tool upgrade\n").unwrap();
        assert_eq!(owner(&exe).unwrap().advice, "run [31mour-tool upgrade");
        std::fs::write(bin.join(MARKER), "").unwrap();
        assert_eq!(owner(&exe).unwrap().advice, "use the program that installed it");
    }

    #[test]
    fn cargo_knows_what_it_installed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let exe = dir.path().join("bin/stigmer");
        assert_eq!(owner(&exe), None);
        let list = dir.path().join(".crates.toml");
        std::fs::write(&list, "[v1]\n\"other 1.0.0 (registry+x)\" = [\"other\"]\n").unwrap();
        assert_eq!(owner(&exe), None);
        std::fs::write(&list, "[v1]\n\"stigmer 1.0.0 (registry+x)\" = [\"stigmer\"]\n").unwrap();
        assert_eq!(owner(&exe).unwrap().advice, "cargo install stigmer");
    }

    #[test]
    fn the_package_is_read_from_what_its_manager_says() {
        assert_eq!(package_name("dpkg", "stigmer:amd64: /usr/bin/stigmer\n"), Some("stigmer".into()));
        assert_eq!(package_name("rpm", "stigmer"), Some("stigmer".into()));
        assert_eq!(package_name("dpkg", ""), None);
        assert_eq!(package_name("dpkg", "diversion by x from: /usr/bin/y\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_is_asked_about_its_own_programs() {
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        if ask("dpkg", &["-S"], &shell).is_some() {
            let owner = owner(&shell).unwrap();
            assert!(owner.name.contains("dpkg") && owner.advice.contains("--only-upgrade"), "{owner:?}");
        }
        assert_eq!(system_package(Path::new("/usr/bin/no-package-has-this")), None);
        assert_eq!(system_package(Path::new("/usr/local/bin/stigmer")), None);
    }
}
