//! `stigmer bundle keygen`, `stigmer bundle sign`, and `stigmer bundle verify` where it is about a signature.

use super::super::{Exit, Failure, Outcome, Output};
use crate::bundle::Digest;
use crate::config::Config;
use crate::home::Home;
use crate::update::publish::{asked_of, with_signature, write};
use crate::update::{Listing, PublicKey, Signed, SigningKey, TrustError, TrustedKeys, UpdateIndex};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Names a file with the password of the secret key.
const PASSWORD_FILE: &str = "STIGMER_KEY_PASSWORD_FILE";

/// Make a pair of keys for signing releases.
///
/// Writes the secret key to FILE and the public one to FILE.pub, in the form of minisign. Neither is ever overwritten. The
/// password is asked for on the terminal, or read from the file that `STIGMER_KEY_PASSWORD_FILE` names.
#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Do not encrypt the secret key
    #[arg(long)]
    no_password: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Sign a file.
///
/// Writes FILE.minisig, which `minisign -V` checks too. A listing or an update index is signed as such; of any other file the
/// signature says its name.
#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The file
    file: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    path: &'a Path,
    key: String,
    public_key: &'a str,
}

/// What was found of a signature.
#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    key: String,
    signed_as: String,
    /// The files beside it that are what it says they are.
    matching: Vec<String>,
}

impl Keygen {
    pub(super) fn run(self) -> Outcome {
        let password = if self.no_password { None } else { Some(new_password()?) };
        let (key, public) = SigningKey::generate(&self.out, password)?;
        let output = Output::new(self.json);
        output.note(format_args!(
            "{}: the secret key {}; keep a copy where no network reaches",
            self.out.display(),
            key.id()
        ));
        output.note(format_args!("{}: its public key, for packaging/release-keys.pub", public.display()));
        if output.is_json() {
            output.json(&Made { path: &self.out, key: key.id().to_string(), public_key: key.as_str() })?;
        } else {
            output.line(key.as_str())?;
        }
        Ok(0)
    }
}

impl Sign {
    pub(super) fn run(self) -> Outcome {
        let bytes = fs_err::read(&self.file)?;
        let name = name_of(&self.file);
        let purpose = match purpose(&name, &bytes) {
            Some(purpose) => purpose,
            None => format!("file:{name}"),
        };
        let key = open(&self.key)?;
        let path = with_signature(&self.file);
        write(&path, key.sign(&bytes, &purpose)?.as_bytes())?;
        let output = Output::new(self.json);
        let public = key.public()?;
        if output.is_json() {
            output.json(&Made { path: &path, key: public.id().to_string(), public_key: public.as_str() })?;
        } else {
            output.note(format_args!(
                "{}: signed as {purpose:?} with the key {}",
                path.display(),
                public.id()
            ));
        }
        Ok(0)
    }
}

/// Checks the signature beside `file`; of an update index also the files it names, where they are beside it.
pub(super) fn verify(file: &Path, key: Option<&str>, json: bool) -> Outcome {
    let keys = match key {
        Some(key) => named(key)?,
        None => crate::build_info::trusted_keys(&Config::read(&Home::from_env()?)?.update)?,
    };
    let bytes = fs_err::read(file)?;
    let signature = match fs_err::read(with_signature(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other?),
    };
    let name = name_of(file);
    let signed = Signed { name: &name, bytes: &bytes, signature: signature.as_deref() };
    let (id, signed_as) = (signed.key(&keys)?, signed.comment(&keys)?);
    let mut matching = Vec::new();
    if let Ok(index) = UpdateIndex::parse(&name, &bytes) {
        UpdateIndex::trusted(&signed, &keys, &asked_of(&index))?;
        let dir = file.parent().unwrap_or(Path::new(""));
        let files = [
            (&index.carrier.name, index.carrier.size, index.carrier.blake3),
            (&index.code.name, index.code.size, index.code.blake3),
        ];
        let patches = index.patches.iter().map(|patch| (&patch.name, patch.size, patch.blake3));
        for (name, size, digest) in files.into_iter().chain(patches) {
            if is_beside(dir, name, size, digest)? {
                matching.push(name.clone());
            }
        }
    } else if name == Listing::NAME {
        Listing::trusted(&signed, &keys)?;
    }
    let output = Output::new(json);
    if output.is_json() {
        output.json(&Report { path: file, key: id.to_string(), signed_as, matching })?;
    } else {
        output.line(format_args!("{}: signed as {signed_as:?} with the key {id}", file.display()))?;
        for name in matching {
            output.line(format_args!("{name}: as signed"))?;
        }
    }
    Ok(0)
}

/// Whether the file is there, and if it is, that it is what was signed.
fn is_beside(dir: &Path, name: &str, size: u64, digest: Digest) -> Result<bool, Failure> {
    let path = dir.join(name);
    let file = match fs_err::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let found = file.metadata()?.len();
    if found != size {
        return Err(TrustError::OtherSize { name: name.to_owned(), found, wanted: size }.into());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    if Digest::from(hasher.finalize()) != digest {
        return Err(TrustError::OtherContent { name: name.to_owned(), what: "the content".into() }.into());
    }
    Ok(true)
}

/// The keys that `text` is, or that are in the file it names.
fn named(text: &str) -> Result<TrustedKeys, Failure> {
    if let Ok(key) = PublicKey::parse(text) {
        let mut keys = TrustedKeys::default();
        keys.add(key);
        return Ok(keys);
    }
    match fs_err::read_to_string(text) {
        Ok(lines) => Ok(TrustedKeys::parse(&lines)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::Usage, format!("`{text}` is neither a public key nor a file of them"))
                .hint("give the second line of the .pub file that minisign wrote, or that file"))
        }
        Err(error) => Err(error.into()),
    }
}

/// What a document of a release is signed as.
fn purpose(name: &str, bytes: &[u8]) -> Option<String> {
    if let Ok(index) = UpdateIndex::parse(name, bytes) {
        return Some(UpdateIndex::purpose(&index.version, index.target));
    }
    Listing::parse(name, bytes).is_ok().then(Listing::purpose)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Opens a secret key, with a password if it needs one.
pub(super) fn open(path: &Path) -> Result<SigningKey, Failure> {
    Ok(SigningKey::read(path, &mut || password(&format!("Password of {}: ", path.display())))?)
}

/// The password in the file that the environment names, or else from the terminal.
fn password(prompt: &str) -> io::Result<String> {
    if let Some(file) = password_file() {
        return password_in(Path::new(&file));
    }
    let terminal = console::Term::stderr();
    if !terminal.is_term() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "a password is needed, and there is no terminal to ask on; {PASSWORD_FILE} may name a file with it"
            ),
        ));
    }
    terminal.write_str(prompt)?;
    terminal.read_secure_line()
}

/// The file that the environment names, if it does.
fn password_file() -> Option<OsString> {
    std::env::var_os(PASSWORD_FILE).filter(|file| !file.is_empty())
}

/// The password in a file, of which the key's own rule holds: nobody else may read it. What is no file, such as a pipe, has no such bits to ask.
fn password_in(path: &Path) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() && crate::platform::permission_bits(&meta).is_some_and(|mode| mode & 0o077 != 0) {
        let name = path.display();
        let text =
            format!("the password in `{name}` can be read by other users; `chmod 600 {name}` ends that");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A password that was typed twice.
fn new_password() -> Result<String, Failure> {
    let first = password("Password for the new key: ")?;
    if first.is_empty() {
        return Err(Failure::new(Exit::Usage, "the password is empty")
            .hint("--no-password leaves the key open to whoever can read the file"));
    }
    if password_file().is_none() && password("The same again: ")? != first {
        return Err(
            Failure::new(Exit::Failed, "the two passwords are not the same").hint("nothing was written")
        );
    }
    Ok(first)
}
