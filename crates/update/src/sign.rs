//! Signing, for those who issue releases. The formats are minisign's, so its tool can do all of this too.

use super::{KeyId, KeysError, PublicKey};
use ct_codecs::{Base64, Decoder};
use fs_err as fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Longest file of a secret key in bytes.
const KEY_LEN: u64 = 4096;

/// What an encrypted key begins with: in base64, `Ed` for the signature and `Sc` for scrypt.
const ENCRYPTED: &str = "RWRTY";

/// A key that signs. It is never printed, and has no `Debug`.
pub struct SigningKey {
    secret: minisign::SecretKey,
    public: minisign::PublicKey,
}

/// Gives the password of a secret key, when one is needed.
pub type Password<'a> = &'a mut dyn FnMut() -> io::Result<String>;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not the secret key of minisign.
    #[error("`{}` is not a secret key of minisign: {reason}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It does not open with this password.
    #[error("the password does not open the secret key `{}`", path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// Other users can read the key.
    #[error("other users can read the secret key `{}`", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
    },
    /// The library failed.
    #[error("signing failed: {0}")]
    Failed(String),
    /// What was made is no public key.
    #[error(transparent)]
    Key(#[from] KeysError),
}

impl SigningKey {
    /// Makes a key and writes it to `path`, for its owner alone, and the public key to `path` with `.pub` added. Neither may exist.
    /// The secret key is encrypted with `password`, unless that is `None`.
    /// Gives the public key, and where it was written.
    pub fn generate(path: &Path, password: Option<String>) -> Result<(PublicKey, PathBuf), SigningError> {
        let plain = password.is_none();
        let pair = match password {
            None => minisign::KeyPair::generate_unencrypted_keypair(),
            Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password)),
        }
        .map_err(failed)?;
        let comment =
            if plain { "stigmer release key, not encrypted" } else { "stigmer release key, encrypted" };
        let secret = pair.sk.to_box(Some(comment)).map_err(failed)?.into_string();
        let public = pair.pk.to_box().map_err(failed)?.into_string();
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        write_new(&public_path, public.as_bytes(), false)?;
        if let Err(error) = write_new(path, secret.as_bytes(), true) {
            fs::remove_file(&public_path)?;
            return Err(error.into());
        }
        Ok((PublicKey::parse(&pair.pk.to_base64())?, public_path))
    }

    /// Reads the secret key at `path`; asks for its password only if it is encrypted.
    pub fn read(path: &Path, password: Password<'_>) -> Result<Self, SigningError> {
        let not_a_key = |reason: String| SigningError::NotAKey { path: path.to_owned(), reason };
        let mut file = fs::File::open(path)?;
        let meta = file.metadata()?;
        if meta.len() > KEY_LEN {
            return Err(not_a_key(format!("it has more than {KEY_LEN} bytes")));
        }
        if stigmer_platform::permission_bits(&meta).is_some_and(|mode| mode & 0o077 != 0) {
            return Err(SigningError::Readable { path: path.to_owned() });
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let boxed = minisign::SecretKeyBox::from_string(&text).map_err(|e| not_a_key(e.to_string()))?;
        let secret = if text.lines().nth(1).is_some_and(|line| line.starts_with(ENCRYPTED)) {
            boxed.into_secret_key(Some(password()?)).map_err(|error| match error.kind() {
                minisign::ErrorKind::Verify => SigningError::WrongPassword { path: path.to_owned() },
                _ => not_a_key(error.to_string()),
            })?
        } else {
            boxed
                .into_unencrypted_secret_key()
                .or_else(|error| without_checksum(&text).ok_or(error))
                .map_err(|e| not_a_key(e.to_string()))?
        };
        let public = minisign::PublicKey::from_secret_key(&secret).map_err(failed)?;
        Ok(Self { secret, public })
    }

    /// The public key that checks what this one signs.
    pub fn public(&self) -> Result<PublicKey, SigningError> {
        Ok(PublicKey::parse(&self.public.to_base64())?)
    }

    /// The signature of `bytes`, as the text of a `.minisig`. `purpose` is the trusted comment: the signature covers it.
    pub fn sign(&self, bytes: &[u8], purpose: &str) -> Result<String, SigningError> {
        let id = self.id();
        let note = format!("signature of the stigmer release key {id}");
        let signature = minisign::sign(Some(&self.public), &self.secret, bytes, Some(purpose), Some(&note))
            .map_err(failed)?;
        Ok(signature.into_string())
    }

    fn id(&self) -> String {
        KeyId::from_bytes(self.public.keynum()).map(|id| id.to_string()).unwrap_or_default()
    }
}

/// The secret key in `text`, if it is not encrypted and has no checksum: so `minisign -G -W` writes it. That the key is whole shows when
/// it signs, because each signature is checked with the public key.
fn without_checksum(text: &str) -> Option<minisign::SecretKey> {
    const CHECKSUM: usize = 32;
    let bytes = Base64::decode_to_vec(text.lines().nth(1)?, None).ok()?;
    let (_, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    let key = minisign::SecretKey::from_bytes(&bytes).ok()?;
    (checksum == [0; CHECKSUM] && !key.is_encrypted()).then_some(key)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: minisign::PError) -> SigningError {
    SigningError::Failed(error.to_string())
}

/// Writes a file that does not exist yet, `secret` for its owner alone from the first byte on.
fn write_new(path: &Path, bytes: &[u8], secret: bool) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    // A temporary file is its owner's alone until it is told otherwise.
    let mut file = tempfile::Builder::new().prefix(".stigmer-key-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    if !secret {
        stigmer_platform::set_mode(file.path(), 0o644)?;
    }
    file.persist_noclobber(path).map_err(|e| {
        let why = if e.error.kind() == io::ErrorKind::AlreadyExists {
            "it exists, and no key is overwritten".to_owned()
        } else {
            e.error.to_string()
        };
        io::Error::new(e.error.kind(), format!("cannot write `{}`: {why}", path.display()))
    })?;
    Ok(())
}
