//! Writing a Mach-O carrier: `__LINKEDIT` and the string table at its end grow over the bundle.
//!
//! No load command is added, because there may be no room for one, and no segment, because macOS 27 counts them.
//! Apple's own tools insist that the link edit information fills `__LINKEDIT`, so the string table, which is last in
//! it, takes the bundle in; nothing looks up a name there. An ad hoc signature is dropped, because it could not stay
//! valid. Its place in the load commands is taken by that of the new one, which is last in `__LINKEDIT` and in the
//! file.

use super::sign::{self, ADHOC, CODE_DIRECTORY, SUPER_BLOB, Signing};
use crate::carriers::format::pad;

const MAGIC_64: u32 = 0xfeed_facf;
const HEADER_LEN: usize = 32;
const SEGMENT_LEN: usize = 72;
const SECTION_LEN: usize = 80;
const MH_EXECUTE: u32 = 0x2;
const LC_SYMTAB: u32 = 0x2;
const LC_SEGMENT_64: u32 = 0x19;
const LC_CODE_SIGNATURE: u32 = 0x1d;
/// The largest page of any Mac.
const PAGE: u64 = 0x4000;
const ALIGN: usize = 16;
const SIGNATURE_COMMAND_LEN: usize = 16;

/// A load command: where it lies, which it is, how long it is.
#[derive(Clone, Copy)]
struct Command {
    at: usize,
    cmd: u32,
    len: usize,
}

/// The bytes in front of a bundle of `bundle_len` bytes that make `base` a carrier, and with an `identifier` the
/// parameters of the signature that follows the bundle.
///
/// # Errors
/// The reason why `base` cannot carry a bundle.
pub(super) fn grow_linkedit<'a>(
    base: &[u8],
    bundle_len: u64,
    identifier: Option<&'a str>,
) -> Result<(Vec<u8>, Option<Signing<'a>>), String> {
    if four(base, 0) != Some(MAGIC_64) {
        return Err("it is not a 64-bit little-endian Mach-O file, and no Mac runs any other".into());
    }
    let mut out = base.to_vec();
    remove_ad_hoc_signature(&mut out)?;
    let commands = commands(&out)?;
    let linkedit = commands
        .iter()
        .find(|c| c.cmd == LC_SEGMENT_64 && name(&out, c.at).starts_with(b"__LINKEDIT\0"))
        .ok_or("it has no `__LINKEDIT`")?
        .at;
    let start = eight(&out, linkedit + 40).ok_or("its `__LINKEDIT` is cut off")?;
    let len = eight(&out, linkedit + 48).ok_or("its `__LINKEDIT` is cut off")?;
    let end = start.checked_add(len).ok_or("its `__LINKEDIT` has an impossible size")?;
    let is_last = commands.iter().filter(|c| c.cmd == LC_SEGMENT_64).all(|c| {
        let segment = eight(&out, c.at + 40).zip(eight(&out, c.at + 48));
        segment.is_some_and(|(at, len)| at.checked_add(len).is_some_and(|end_of| end_of <= end))
    });
    if !is_last || end != out.len() as u64 {
        return Err(
            "its `__LINKEDIT` is not last in the file, so the bundle would lie outside what is signed".into(),
        );
    }
    let strings = commands.iter().find(|c| c.cmd == LC_SYMTAB).map(|c| c.at);
    let strings_end =
        strings.and_then(|at| Some(u64::from(four(&out, at + 16)?) + u64::from(four(&out, at + 20)?)));
    pad(&mut out, ALIGN);
    let new_end = (out.len() as u64).checked_add(bundle_len).ok_or("the bundle is too long")?;
    if let (Some(at), Some(strings_end)) = (strings, strings_end) {
        if strings_end > end || end - strings_end >= ALIGN as u64 {
            return Err(
                "its string table is not last in `__LINKEDIT`, so no signer would accept what follows".into(),
            );
        }
        let from = four(&out, at + 16).unwrap_or(0);
        let grown = u32::try_from(new_end - u64::from(from))
            .map_err(|_| "a Mach-O file cannot hold a bundle beyond 4 GiB")?;
        put(&mut out, at + 20, &grown.to_le_bytes());
    }
    let mut signing = None;
    let mut linkedit_end = new_end;
    if let Some(identifier) = identifier {
        let text = commands
            .iter()
            .find(|c| c.cmd == LC_SEGMENT_64 && name(&out, c.at).starts_with(b"__TEXT\0"))
            .and_then(|c| eight(&out, c.at + 40).zip(eight(&out, c.at + 48)))
            .ok_or("it has no `__TEXT`")?;
        let is_program = four(&out, 12) == Some(MH_EXECUTE);
        linkedit_end = announce_signature(&mut out, &commands, new_end, identifier)?;
        signing = Some(Signing { identifier, text, is_program });
    }
    put(&mut out, linkedit + 48, &(linkedit_end - start).to_le_bytes());
    put(&mut out, linkedit + 32, &(linkedit_end - start).next_multiple_of(PAGE).to_le_bytes());
    Ok((out, signing))
}

/// Adds the load command of a signature that begins at `at`, and returns where that ends.
fn announce_signature(
    out: &mut [u8],
    commands: &[Command],
    at: u64,
    identifier: &str,
) -> Result<u64, String> {
    let beyond = || "a Mach-O file cannot hold a bundle beyond 4 GiB".to_owned();
    let len = sign::len(at, identifier).ok_or_else(beyond)?;
    let end = at.checked_add(len).filter(|end| u32::try_from(*end).is_ok()).ok_or_else(beyond)?;
    let command = commands.last().map_or(HEADER_LEN, |c| c.at + c.len);
    // What follows the load commands is unused up to the first section, and zero; anything else is not ours to overwrite.
    let free = first_section(out, commands)?.saturating_sub(command);
    let room = out.get(command..command + SIGNATURE_COMMAND_LEN);
    if free < SIGNATURE_COMMAND_LEN || room.is_none_or(|room| room.iter().any(|byte| *byte != 0)) {
        return Err(format!(
            "behind its load commands {free} bytes are free, and those of a signature need {SIGNATURE_COMMAND_LEN}: \
             link it with more room, as `-headerpad 0x100` does, or sign it once before packing"
        ));
    }
    let (count, commands_len) = four(out, 16).zip(four(out, 20)).ok_or("its header is cut off")?;
    for (i, value) in
        [u64::from(LC_CODE_SIGNATURE), SIGNATURE_COMMAND_LEN as u64, at, len].into_iter().enumerate()
    {
        let value = u32::try_from(value).map_err(|_| beyond())?;
        put(out, command + i * 4, &value.to_le_bytes());
    }
    put(out, 16, &(count + 1).to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "16")]
    let grown = commands_len
        .checked_add(SIGNATURE_COMMAND_LEN as u32)
        .ok_or("its load commands are longer than its header says")?;
    put(out, 20, &grown.to_le_bytes());
    Ok(end)
}

/// Where in the file the first section begins: the load commands can grow up to there.
fn first_section(data: &[u8], commands: &[Command]) -> Result<usize, String> {
    let mut first = data.len();
    for segment in commands.iter().filter(|c| c.cmd == LC_SEGMENT_64) {
        let count = four(data, segment.at + 64).unwrap_or(0) as usize;
        if count.checked_mul(SECTION_LEN).is_none_or(|len| len > segment.len - SEGMENT_LEN) {
            return Err("its load commands are cut off".into());
        }
        for section in 0..count {
            let at = segment.at + SEGMENT_LEN + section * SECTION_LEN;
            // One without content, such as zeros that are made at the start, has no place in the file.
            let place = four(data, at + 48).filter(|place| *place != 0);
            if let Some(place) = place {
                first = first.min(place as usize);
            }
        }
        // A segment without sections, such as `__LINKEDIT`, begins where its content does.
        let start = eight(data, segment.at + 40).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = start.filter(|start| *start != 0) {
            first = first.min(start);
        }
    }
    Ok(first)
}

/// Removes the load command of an ad hoc signature and the signature.
fn remove_ad_hoc_signature(out: &mut Vec<u8>) -> Result<(), String> {
    let commands = commands(out)?;
    let Some(signature) = commands.iter().find(|c| c.cmd == LC_CODE_SIGNATURE).copied() else {
        return Ok(());
    };
    let range = four(out, signature.at + 8)
        .zip(four(out, signature.at + 12))
        .and_then(|(at, len)| Some(at as usize..(at as usize).checked_add(len as usize)?))
        .ok_or("its signature is cut off")?;
    let blob = out.get(range.clone()).ok_or("its signature lies outside the file")?;
    if !is_ad_hoc(blob) {
        return Err("it is signed with an identity, and packing would break that; sign after packing".into());
    }
    if out.len() - range.end >= ALIGN {
        return Err("something follows its signature".into());
    }
    out.truncate(range.start);
    // Close the gap in the load commands; they are followed by zero bytes up to the first section.
    let end = commands.last().map_or(HEADER_LEN, |c| c.at + c.len);
    out.copy_within(signature.at + signature.len..end, signature.at);
    out[end - signature.len..end].fill(0);
    let (count, len) = four(out, 16).zip(four(out, 20)).ok_or("its header is cut off")?;
    put(out, 16, &(count - 1).to_le_bytes());
    let len = u32::try_from(signature.len)
        .ok()
        .and_then(|removed| len.checked_sub(removed))
        .ok_or("its load commands are longer than its header says")?;
    put(out, 20, &len.to_le_bytes());
    let linkedit = self::commands(out)?
        .into_iter()
        .find(|c| c.cmd == LC_SEGMENT_64 && name(out, c.at).starts_with(b"__LINKEDIT\0"));
    if let Some(at) = linkedit.map(|c| c.at) {
        let start = eight(out, at + 40).ok_or("its `__LINKEDIT` is cut off")?;
        let len =
            (out.len() as u64).checked_sub(start).ok_or("its signature lies in front of `__LINKEDIT`")?;
        put(out, at + 48, &len.to_le_bytes());
    }
    Ok(())
}

/// Whether the signature names nobody.
fn is_ad_hoc(blob: &[u8]) -> bool {
    let big =
        |at: usize| blob.get(at..at.checked_add(4)?).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    if big(0) != Some(SUPER_BLOB) {
        return false;
    }
    // A signature made with an identity has a code directory without this flag.
    (0..big(8).unwrap_or(0).min(16) as usize)
        .filter_map(|i| big(12 + i * 8 + 4).map(|at| at as usize))
        .filter(|at| big(*at) == Some(CODE_DIRECTORY))
        .all(|at| at.checked_add(12).and_then(big).is_some_and(|flags| flags & ADHOC != 0))
}

fn commands(data: &[u8]) -> Result<Vec<Command>, String> {
    let cut_off = || "its load commands are cut off".to_owned();
    let count = four(data, 16).ok_or_else(cut_off)?;
    // Nobody reads a load command behind the end that the header gives them.
    let end = four(data, 20)
        .and_then(|len| HEADER_LEN.checked_add(len as usize))
        .filter(|end| *end <= data.len())
        .ok_or_else(cut_off)?;
    let mut at = HEADER_LEN;
    let mut out = Vec::new();
    for _ in 0..count {
        let cmd = four(data, at).ok_or_else(cut_off)?;
        let len = four(data, at + 4).ok_or_else(cut_off)? as usize;
        let shortest = match cmd {
            LC_SEGMENT_64 => SEGMENT_LEN,
            LC_SYMTAB => 24,
            LC_CODE_SIGNATURE => 16,
            _ => 8,
        };
        if len < shortest || len > end.saturating_sub(at) {
            return Err(cut_off());
        }
        out.push(Command { at, cmd, len });
        at += len;
    }
    Ok(out)
}

fn name(data: &[u8], segment: usize) -> &[u8] {
    data.get(segment + 8..segment + 24).unwrap_or_default()
}

fn four(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn eight(data: &[u8], at: usize) -> Option<u64> {
    let bytes = data.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// Every position was read from first.
fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    data[at..at + bytes.len()].copy_from_slice(bytes);
}
