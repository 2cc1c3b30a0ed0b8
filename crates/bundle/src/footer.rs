//! The last 512 bytes of a bundle: what it is, how long its parts are, and the identity of each component.
//!
//! Fixed in size and complete in itself, because a warm start reads this and nothing else of the bundle. The magic stands at
//! both ends, so that one damaged spot cannot make a carrier look bare, and it is composed when the program runs, so that
//! the executable's own code does not contain it.

use crate::digest::Digest;
use crate::error::Damage;

/// Size of the head: the magic and eight zero bytes, in front of the first frame. It tells a carrier whose end is cut off
/// from a bare binary.
pub const HEAD_LEN: usize = 16;
/// Size of the footer in bytes, in every format version.
pub const FOOTER_LEN: usize = 512;
/// The format version this executable reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// How many components a bundle may hold.
pub const MAX_COMPONENTS: usize = 4;

const NAME_LEN: usize = 32;
const SLOT_LEN: usize = NAME_LEN + 32;
const SLOTS_AT: usize = 144;
const DIGEST_AT: usize = 472;
const TAIL_MAGIC_AT: usize = 504;

/// The name and identity of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The component's name.
    pub name: String,
    /// Its payload digest.
    pub digest: Digest,
}

/// The footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Length of all frames in bytes.
    pub frames_len: u64,
    /// Length of the index in bytes.
    pub index_len: u64,
    /// BLAKE3 of the index.
    pub index_digest: Digest,
    /// How many bytes of the carrier lay outside the bundle when it was packed; 0 if not recorded.
    pub code_len: u64,
    /// BLAKE3 of those bytes, or [`Digest::NONE`].
    pub code_digest: Digest,
    /// The components, in the index's order.
    pub slots: Vec<Slot>,
}

/// The first bytes of a bundle.
pub fn head() -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(&magic());
    head
}

/// What [`Footer::parse`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// No footer: neither magic is there.
    Absent,
    /// A footer of a version we do not know.
    UnknownVersion(u32),
    /// A sound footer.
    Sound(Footer),
}

/// The eight bytes that mark a footer.
fn magic() -> [u8; 8] {
    // Kept apart in the executable and joined by a value the optimizer cannot see, so the literal stands nowhere.
    let key = std::hint::black_box(0x2a_u8);
    [0x79, 0x7e, 0x6d, 0x67, 0x04, 0x48, 0x44, 0x4e].map(|b: u8| b ^ key)
}

impl Footer {
    /// Length of the whole bundle: head, frames, index and footer. `None` if the lengths are absurd.
    pub fn bundle_len(&self) -> Option<u64> {
        self.frames_len.checked_add(self.index_len)?.checked_add((HEAD_LEN + FOOTER_LEN) as u64)
    }

    /// The identity of the bundle: one digest over the names and payload digests of its components.
    pub fn bundle_digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("stigmer bundle v1: names and payload digests");
        for slot in &self.slots {
            hasher.update(&padded(&slot.name)).update(slot.digest.as_bytes());
        }
        hasher.finalize().into()
    }

    /// The payload digest of the component called `name`.
    pub fn component(&self, name: &str) -> Option<Digest> {
        self.slots.iter().find(|slot| slot.name == name).map(|slot| slot.digest)
    }

    /// The bytes, with their own digest.
    ///
    /// # Panics
    /// If there are more than [`MAX_COMPONENTS`] slots or a name is too long; the packer checks both first.
    pub fn to_bytes(&self) -> [u8; FOOTER_LEN] {
        assert!(self.slots.len() <= MAX_COMPONENTS, "the packer bounds the number of components");
        let mut out = [0_u8; FOOTER_LEN];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &magic());
        put(8, &FORMAT_VERSION.to_le_bytes());
        put(12, &512_u32.to_le_bytes());
        put(16, &self.frames_len.to_le_bytes());
        put(24, &self.index_len.to_le_bytes());
        put(32, self.index_digest.as_bytes());
        put(64, self.bundle_digest().as_bytes());
        put(96, self.code_digest.as_bytes());
        put(128, &self.code_len.to_le_bytes());
        put(136, &u32::try_from(self.slots.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (i, slot) in self.slots.iter().enumerate() {
            put(SLOTS_AT + i * SLOT_LEN, &padded(&slot.name));
            put(SLOTS_AT + i * SLOT_LEN + NAME_LEN, slot.digest.as_bytes());
        }
        put(TAIL_MAGIC_AT, &magic());
        let digest = Digest::of(&out[..DIGEST_AT]);
        out[DIGEST_AT..TAIL_MAGIC_AT].copy_from_slice(digest.as_bytes());
        out
    }

    /// Reads the last [`FOOTER_LEN`] bytes of a bundle.
    ///
    /// # Errors
    /// The magic is there, and anything else is not as it was written.
    pub fn parse(bytes: &[u8; FOOTER_LEN]) -> Result<Parsed, Damage> {
        let head = bytes[..8] == magic();
        let tail = bytes[TAIL_MAGIC_AT..] == magic();
        if !head && !tail {
            return Ok(Parsed::Absent);
        }
        if head != tail {
            return Err(Damage::new("footer: one of its two magics is not as written"));
        }
        if Digest::from_bytes(array(bytes, DIGEST_AT)) != Digest::of(&bytes[..DIGEST_AT]) {
            return Err(Damage::new("footer: its digest does not match its bytes"));
        }
        let version = u32::from_le_bytes(array(bytes, 8));
        if version != FORMAT_VERSION {
            return Ok(Parsed::UnknownVersion(version));
        }
        let count = u32::from_le_bytes(array(bytes, 136)) as usize;
        if count == 0 || count > MAX_COMPONENTS {
            return Err(Damage::new(format!(
                "footer: {count} components; 1 to {MAX_COMPONENTS} are possible"
            )));
        }
        let slots =
            (0..count).map(|i| slot(bytes, SLOTS_AT + i * SLOT_LEN)).collect::<Result<Vec<_>, _>>()?;
        let footer = Self {
            frames_len: u64::from_le_bytes(array(bytes, 16)),
            index_len: u64::from_le_bytes(array(bytes, 24)),
            index_digest: Digest::from_bytes(array(bytes, 32)),
            code_digest: Digest::from_bytes(array(bytes, 96)),
            code_len: u64::from_le_bytes(array(bytes, 128)),
            slots,
        };
        // What a version 1 writer leaves zero, a version 1 reader insists on: a bundle has exactly one form.
        if footer.to_bytes() != *bytes {
            return Err(Damage::new("footer: a field is not in the one form it can have"));
        }
        Ok(Parsed::Sound(footer))
    }
}

fn slot(bytes: &[u8; FOOTER_LEN], at: usize) -> Result<Slot, Damage> {
    let raw: [u8; NAME_LEN] = array(bytes, at);
    let end = raw.iter().position(|b| *b == 0).unwrap_or(NAME_LEN);
    let name = std::str::from_utf8(&raw[..end])
        .map_err(|_| Damage::new("footer: a component's name is not text"))?;
    if !is_component_name(name) {
        return Err(Damage::new(format!("footer: {name:?} is not a component name")));
    }
    Ok(Slot { name: name.to_owned(), digest: Digest::from_bytes(array(bytes, at + NAME_LEN)) })
}

/// Whether `name` can name a component: 1 to 31 of `a-z`, `0-9` and `-`, beginning with a letter.
pub(crate) fn is_component_name(name: &str) -> bool {
    name.len() < NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn padded(name: &str) -> [u8; NAME_LEN] {
    let mut out = [0; NAME_LEN];
    out[..name.len()].copy_from_slice(name.as_bytes());
    out
}

fn array<const N: usize>(bytes: &[u8; FOOTER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Footer {
        Footer {
            frames_len: 10,
            index_len: 20,
            index_digest: Digest::of(b"index"),
            code_len: 5,
            code_digest: Digest::of(b"code"),
            slots: vec![Slot { name: "agent-runner".into(), digest: Digest::of(b"payload") }],
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Footer::parse(&sample().to_bytes()), Ok(Parsed::Sound(sample())));
    }

    #[test]
    fn every_single_flipped_bit_is_detected() {
        let sound = sample().to_bytes();
        for bit in 0..FOOTER_LEN * 8 {
            let mut bytes = sound;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named_and_not_guessed_at() {
        let mut bytes = sample().to_bytes();
        bytes[8] = 9;
        let digest = Digest::of(&bytes[..DIGEST_AT]);
        bytes[DIGEST_AT..TAIL_MAGIC_AT].copy_from_slice(digest.as_bytes());
        assert_eq!(Footer::parse(&bytes), Ok(Parsed::UnknownVersion(9)));
    }

    #[test]
    fn other_bytes_are_no_footer() {
        assert_eq!(Footer::parse(&[0; FOOTER_LEN]), Ok(Parsed::Absent));
    }

    #[test]
    fn component_names() {
        assert!(is_component_name("agent-runner") && is_component_name("a1"));
        for bad in ["", "A", "1a", "-a", "a_b", "a/b", &"a".repeat(32)] {
            assert!(!is_component_name(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), FOOTER_LEN), marked: bool) {
            let mut bytes: [u8; FOOTER_LEN] = bytes.try_into().unwrap();
            if marked {
                bytes[..8].copy_from_slice(&magic());
                bytes[TAIL_MAGIC_AT..].copy_from_slice(&magic());
                let digest = Digest::of(&bytes[..DIGEST_AT]);
                bytes[DIGEST_AT..TAIL_MAGIC_AT].copy_from_slice(digest.as_bytes());
            }
            let _ = Footer::parse(&bytes);
        }
    }
}
