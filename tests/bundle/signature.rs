//! Reads the code signature of a Mach-O file as macOS does, by the published format and by nothing of the packer's.

use object::endian::Endianness;
use object::macho::{LC_CODE_SIGNATURE, MachHeader64};
use object::read::macho::{LoadCommandVariant, MachHeader};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// What a signature says.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) range: Range<usize>,
    pub(crate) identifier: String,
    pub(crate) flags: u32,
    pub(crate) version: u32,
    pub(crate) page: usize,
    pub(crate) limit: usize,
    pub(crate) text: (u64, u64, u64),
    pub(crate) slots: Vec<(u32, u32)>,
}

/// Everything of `file`'s signature, after each thing that macOS insists on was looked at; a fault is the error.
pub(crate) fn check(file: &[u8]) -> Result<Signature, String> {
    let (range, linkedit, linkedit_memory) = places(file)?;
    if range.end != file.len() || linkedit.end != file.len() {
        return Err(format!(
            "signature {range:?}, __LINKEDIT {linkedit:?} and the file of {} differ",
            file.len()
        ));
    }
    if range.start % 16 != 0 || linkedit_memory < linkedit.len() as u64 || linkedit_memory % 0x1000 != 0 {
        return Err("an alignment is not right".into());
    }
    let blob = &file[range.clone()];
    if be(blob, 0) != 0xfade_0cc0 {
        return Err("no super blob".into());
    }
    let length = be(blob, 4) as usize;
    if length > blob.len() || blob.len() - length >= 16 || blob[length..].iter().any(|byte| *byte != 0) {
        return Err("something follows the super blob".into());
    }
    let mut slots = Vec::new();
    let mut next = 12 + 8 * be(blob, 8) as usize;
    let mut directory = None;
    let mut requirements = None;
    for i in 0..be(blob, 8) as usize {
        let (slot, at) = (be(blob, 12 + i * 8), be(blob, 16 + i * 8) as usize);
        if at != next {
            return Err(format!("slot {slot:#x} lies at {at} and not at {next}"));
        }
        let len = be(blob, at + 4) as usize;
        next = at + len;
        slots.push((slot, be(blob, at)));
        match slot {
            0 => directory = Some(&blob[at..next]),
            2 => requirements = Some(&blob[at..next]),
            _ => {}
        }
    }
    if next != length {
        return Err("the blobs do not fill the super blob".into());
    }
    let directory = directory.ok_or("no code directory")?;
    let (hashes_at, identifier_at) = (be(directory, 16) as usize, be(directory, 20) as usize);
    let (special, count, limit) =
        (be(directory, 24) as usize, be(directory, 28) as usize, be(directory, 32) as usize);
    if directory[36..39] != [32, 2, 0] {
        return Err("the hashes are not SHA-256".into());
    }
    if limit != range.start {
        return Err(format!("{limit} bytes are signed and not all {}", range.start));
    }
    let page = 1 << directory[39];
    let hash = |at: usize| -> [u8; 32] { directory[at..at + 32].try_into().expect("32 bytes") };
    if let Some(requirements) = requirements {
        let listed = hash(hashes_at.checked_sub(64).ok_or("no special slots")?);
        if special < 2 || listed != <[u8; 32]>::from(Sha256::digest(requirements)) {
            return Err("the requirements are not bound".into());
        }
    }
    if hashes_at + count * 32 != directory.len() {
        return Err("the hashes do not fill the directory".into());
    }
    let pages: Vec<[u8; 32]> = (0..count).map(|i| hash(hashes_at + i * 32)).collect();
    let mut at = 0;
    for (i, listed) in pages.iter().enumerate() {
        let end = (at + page).min(limit);
        let mut hasher = Sha256::new();
        hasher.update(&file[at..end]);
        if <[u8; 32]>::from(hasher.finalize()) != *listed {
            return Err(format!("page {i} of {count} does not match"));
        }
        at = end;
    }
    if at != limit {
        return Err(format!("the last {} bytes are in no page", limit - at));
    }
    let identifier = directory[identifier_at..].split(|byte| *byte == 0).next().unwrap_or_default();
    let long = |at: usize| u64::from_be_bytes(directory[at..at + 8].try_into().expect("eight bytes"));
    Ok(Signature {
        range,
        identifier: String::from_utf8(identifier.to_vec()).map_err(|e| e.to_string())?,
        flags: be(directory, 12),
        version: be(directory, 8),
        page,
        limit,
        text: (long(64), long(72), long(80)),
        slots,
    })
}

/// Where the load commands say the signature and `__LINKEDIT` lie, and how much memory that takes.
fn places(file: &[u8]) -> Result<(Range<usize>, Range<usize>, u64), String> {
    let header = MachHeader64::<Endianness>::parse(file, 0).map_err(|e| e.to_string())?;
    let endian = header.endian().map_err(|e| e.to_string())?;
    let mut commands = header.load_commands(endian, file, 0).map_err(|e| e.to_string())?;
    let (mut signature, mut linkedit) = (None, None);
    while let Some(command) = commands.next().map_err(|e| e.to_string())? {
        match command.variant().map_err(|e| e.to_string())? {
            LoadCommandVariant::LinkeditData(data) if command.cmd() == LC_CODE_SIGNATURE => {
                let at = data.dataoff.get(endian) as usize;
                signature = Some(at..at + data.datasize.get(endian) as usize);
            }
            LoadCommandVariant::Segment64(segment, _) if segment.segname.starts_with(b"__LINKEDIT\0") => {
                let at = usize::try_from(segment.fileoff.get(endian)).expect("a place in the file");
                let len = usize::try_from(segment.filesize.get(endian)).expect("a length in the file");
                linkedit = Some((at..at + len, segment.vmsize.get(endian)));
            }
            _ => {}
        }
    }
    let (linkedit, memory) = linkedit.ok_or("no __LINKEDIT")?;
    Ok((signature.ok_or("no signature")?, linkedit, memory))
}

fn be(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes"))
}
