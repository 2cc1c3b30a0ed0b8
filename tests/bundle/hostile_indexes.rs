//! Indexes that someone wrote to harm whoever reads them: digests are all sound, so only the rules can refuse them.

use crate::fixtures::{craft, craft_listed, pack, scratch};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use stigmer::bundle::{
    BundleError, BundleOffset, Carrier, Component, ContentOffset, Digest, Entry, EntryKind, Frame, Index,
    Limits, Slot, TreePath, compress, fuzzing,
};

const CONTENT: &[u8] = b"#!/bin/sh\nexit 0\n";

/// A sound component of one script, and its frame.
fn sound() -> (Component, Vec<u8>) {
    let frame = compress(CONTENT, 3).expect("a frame");
    let file = |path: &str, exec| Entry {
        path: TreePath::new(path).expect("a path"),
        kind: EntryKind::File {
            exec,
            size: CONTENT.len() as u64,
            offset: ContentOffset::ZERO,
            blake3: Digest::of(CONTENT),
        },
    };
    let component = Component {
        name: "hello".into(),
        version: "1".into(),
        digest: Digest::NONE,
        entrypoint: TreePath::new("run").expect("a path"),
        entries: vec![file("copy", false), file("run", true)],
        frames: vec![Frame {
            offset: BundleOffset::new(16),
            len: frame.len() as u64,
            raw: CONTENT.len() as u64,
            blake3: Digest::of(&frame),
        }],
    };
    (component, frame)
}

fn read(bytes: &[u8]) -> Result<Index, BundleError> {
    let dir = scratch();
    let path = dir.path().join("carrier");
    std::fs::write(&path, bytes).expect("written");
    let carrier = Carrier::open(&path)?;
    let index = carrier.index()?;
    let verified = carrier.verify()?;
    assert!(verified.problems.is_empty(), "{verified:?}");
    Ok(index)
}

fn refused(bytes: &[u8], why: &str) {
    match read(bytes) {
        Err(BundleError::Damaged { damage, .. }) => {
            assert!(damage.to_string().contains(why), "{damage}\n  should say: {why}");
        }
        other => panic!("it should be refused because {why}: {other:?}"),
    }
}

fn spoilt(spoil: impl FnOnce(&mut Component), why: &str) {
    let (mut component, frame) = sound();
    spoil(&mut component);
    refused(&craft_listed(vec![component], &frame), why);
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: TreePath::new(path).expect("a path"), kind }
}

fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Link { target: target.into() })
}

#[test]
fn the_sound_one_is_taken() {
    let (component, frame) = sound();
    assert!(read(&craft_listed(vec![component], &frame)).is_ok());
}

#[test]
fn links_that_lead_elsewhere() {
    spoilt(|c| c.entries.insert(0, link("a", "../run")), "leaves the tree");
    spoilt(|c| c.entries.insert(0, link("a", "/etc/passwd")), "not a relative link");
    spoilt(|c| c.entries.insert(0, link("a", "none")), "leads to nothing");
    spoilt(|c| c.entries.insert(0, link("a", "a")), "cycle");
    spoilt(|c| drop(c.entries.splice(0..0, [link("a", "b"), link("b", "a")])), "cycle");
    spoilt(|c| c.entries.insert(0, link("a", &"x/".repeat(600))), "too long");
    // Something that claims to lie behind a link.
    spoilt(
        |c| {
            drop(c.entries.splice(0..0, [entry("a", EntryKind::Dir), link("b", "a"), link("b/c", "../run")]));
        },
        "not a listed directory",
    );
}

#[test]
fn trees_that_are_none() {
    spoilt(|c| c.entries.swap(0, 1), "duplicate or not in order");
    spoilt(|c| c.entries[0].path = TreePath::new("run").unwrap(), "duplicate or not in order");
    spoilt(|c| c.entries[0].path = TreePath::new("RUN").unwrap(), "differ only in case");
    spoilt(|c| c.entries[0].path = TreePath::new("dir/copy").unwrap(), "not a listed directory");
    spoilt(|c| c.entries[0].path = TreePath::new("run/copy").unwrap(), "not a listed directory");
    spoilt(|c| c.entrypoint = TreePath::new("none").unwrap(), "entrypoint");
    spoilt(|c| c.entrypoint = TreePath::new("copy").unwrap(), "entrypoint");
    spoilt(|c| c.entries.truncate(0), "");
}

#[test]
fn names_and_versions_that_are_none() {
    spoilt(|c| c.version = String::new(), "version");
    spoilt(|c| c.version = "1\u{1b}[31m".into(), "version");
    let (mut component, frame) = sound();
    component.name = "Hello".into();
    refused(&craft_listed(vec![component], &frame), "not a component name");
    let (component, frame) = sound();
    refused(&craft_listed(vec![component.clone(), component], &frame), "twice");
}

fn size_of(entry: &mut Entry) -> &mut u64 {
    match &mut entry.kind {
        EntryKind::File { size, .. } => size,
        _ => panic!("a file"),
    }
}

fn offset_of(entry: &mut Entry) -> &mut ContentOffset {
    match &mut entry.kind {
        EntryKind::File { offset, .. } => offset,
        _ => panic!("a file"),
    }
}

#[test]
fn sizes_and_places_that_cannot_be() {
    spoilt(|c| *size_of(&mut c.entries[0]) = u64::MAX, "outside the frames");
    spoilt(|c| *offset_of(&mut c.entries[0]) = ContentOffset::new(u64::MAX), "outside the frames");
    spoilt(|c| *size_of(&mut c.entries[0]) = 5, "overlaps another");
    spoilt(
        |c| {
            *size_of(&mut c.entries[0]) = 0;
            *offset_of(&mut c.entries[0]) = ContentOffset::new(3);
        },
        "outside the frames",
    );
    spoilt(
        |c| c.entries.iter_mut().for_each(|e| *offset_of(e) = ContentOffset::new(1)),
        "outside the frames",
    );
    spoilt(
        |c| {
            for entry in &mut c.entries {
                *size_of(entry) -= 1;
            }
        },
        "fill 16 bytes of the 17",
    );
    spoilt(|c| c.frames[0].raw = 0, "impossible size");
    spoilt(|c| c.frames[0].raw = Limits::FRAME_RAW + 1, "impossible size");
    spoilt(|c| c.frames[0].len = 0, "impossible size");
    spoilt(|c| c.frames[0].offset = BundleOffset::ZERO, "frame 0 begins at");
    spoilt(|c| c.frames[0].len = u64::MAX, "64 bits");
    spoilt(|c| c.frames[0].len += 1, "its frames take");
    spoilt(|c| c.frames.push(c.frames[0]), "frame 1 begins at 16");
    spoilt(|c| c.frames = vec![c.frames[0]; Limits::FRAMES + 1], "too many");
    spoilt(|c| c.entries = vec![c.entries[0].clone(); Limits::ENTRIES + 1], "too many");
}

#[test]
fn a_small_bundle_that_asks_for_endless_room() {
    let copies = Limits::COMPONENT_RAW / Limits::FRAME_RAW + 1;
    let (size, blake3) = (Limits::FRAME_RAW, Digest::of(b"whatever"));
    spoilt(
        |c| {
            c.frames[0].raw = size;
            c.entries = (0..copies)
                .map(|i| {
                    entry(
                        &format!("f{i:05}"),
                        EntryKind::File { exec: true, size, offset: ContentOffset::ZERO, blake3 },
                    )
                })
                .collect();
        },
        "at most",
    );
}

#[test]
fn contents_that_are_not_what_they_say() {
    // Frames that decode to something else are a problem of the frame, and named as one.
    let (mut component, frame) = sound();
    for entry in &mut component.entries {
        *size_of(entry) += 1;
    }
    component.frames[0].raw += 1;
    let dir = scratch();
    let path = dir.path().join("carrier");
    std::fs::write(&path, craft_listed(vec![component], &frame)).expect("written");
    let verified = Carrier::open(&path).unwrap().verify().unwrap();
    assert_eq!(verified.problems.len(), 1);
    assert!(verified.problems[0].what.contains("decodes to 17 bytes and not to 18"), "{verified:?}");
    assert_eq!(verified.problems[0].files.len(), 2);
    // A frame that would be larger than it says does not get the room.
    let (mut component, frame) = sound();
    for entry in &mut component.entries {
        *size_of(entry) -= 1;
    }
    component.frames[0].raw -= 1;
    std::fs::write(&path, craft_listed(vec![component], &frame)).expect("written");
    let verified = Carrier::open(&path).unwrap().verify().unwrap();
    assert!(verified.problems[0].what.contains("does not decode"), "{verified:?}");
    // A file whose digest is another's.
    let (mut component, frame) = sound();
    for entry in &mut component.entries {
        if let EntryKind::File { blake3, .. } = &mut entry.kind {
            *blake3 = Digest::of(b"something else");
        }
    }
    std::fs::write(&path, craft_listed(vec![component], &frame)).expect("written");
    let verified = Carrier::open(&path).unwrap().verify().unwrap();
    assert_eq!(verified.problems.len(), 2, "{verified:?}");
}

/// The sound index as JSON, changed, under a footer that fits.
fn rewritten(change: impl FnOnce(&mut Value), why: &str) {
    let (mut component, frame) = sound();
    component.digest = component.payload_digest();
    let slots = vec![Slot { name: "hello".into(), digest: component.digest }];
    let mut value = serde_json::to_value(Index { format: 1, components: vec![component] }).expect("JSON");
    change(&mut value);
    refused(&craft(value.to_string().as_bytes(), &frame, slots), why);
}

#[test]
fn paths_that_no_type_would_let_through() {
    for path in ["../x", "/etc/passwd", "a/../../x", "a\\b", "C:x", "", "a//b", "nul", "a\u{0}"] {
        rewritten(|v| v["components"][0]["entries"][0]["path"] = json!(path), "path");
    }
}

#[test]
fn json_that_is_not_the_format() {
    rewritten(|v| v["format"] = json!(2), "version 2 under a version 1 footer");
    rewritten(|v| v["extra"] = json!(1), "unknown field");
    rewritten(|v| v["components"][0]["entries"][0]["mode"] = json!(1), "unknown field");
    rewritten(|v| v["components"][0]["entries"][0]["target"] = json!("run"), "fields of its kind");
    rewritten(|v| v["components"][0]["entries"][0]["size"] = json!(-1), "index: ");
    rewritten(|v| v["components"][0]["entries"][0]["size"] = json!(1e300), "index: ");
    rewritten(|v| v["components"][0]["entries"][0]["kind"] = json!("device"), "unknown variant");
    rewritten(|v| v["components"] = json!([]), "0 components");
    rewritten(|v| v["components"][0]["digest"] = json!(Digest::NONE), "payload digest");
    rewritten(|v| v["components"][0]["name"] = json!("other"), "not the footer's");
    refused(&craft(&b"[".repeat(100_000), b"", vec![slot()]), "index: ");
    refused(&craft(b"", b"", vec![slot()]), "index: ");
}

fn slot() -> Slot {
    Slot { name: "hello".into(), digest: Digest::NONE }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The small brother of the targets in `fuzz/`: nothing panics, whatever the bytes.
    #[test]
    fn no_parser_panics_on_arbitrary_bytes(data in prop::collection::vec(any::<u8>(), 0..2048)) {
        fuzzing::footer(&data);
        fuzzing::index(&data);
        fuzzing::carrier(&data);
        fuzzing::tree_path(&data);
    }

    /// Executables with some bytes changed: the object formats' own parsers are reached.
    #[test]
    fn no_locator_panics_on_spoilt_executables(
        which in 0..6_usize,
        changes in prop::collection::vec((0..400_usize, any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        whole: bool,
    ) {
        use crate::images::{Signature, elf, macho, pe};
        let mut data = match which {
            0 => elf(true, false),
            1 => elf(false, true),
            2 => macho(Signature::AdHoc),
            3 => macho(Signature::Identity),
            4 => pe(),
            _ => CONTENT.to_vec(),
        };
        for (at, byte) in changes {
            let at = at % data.len();
            data[at] = byte;
        }
        if !whole {
            data.truncate(cut.index(data.len()));
        }
        fuzzing::carrier(&data);
        // The packer reads the same files; what it makes of them it must be able to read.
        if !data.is_empty() {
            let dir = scratch();
            std::fs::write(dir.path().join("base"), &data).expect("written");
            let root = dir.path().join("tree");
            crate::fixtures::tree(&root);
            let out = dir.path().join("out");
            let done = crate::fixtures::try_pack(&dir.path().join("base"), &[("hello".into(), root)], &out);
            prop_assert!(done.is_ok() == out.exists());
            if let Err(error) = done {
                prop_assert!(matches!(error, BundleError::Refused { .. }), "{}", error);
            }
        }
    }

    /// A real index with one byte changed.
    #[test]
    fn no_index_parser_panics_on_a_spoilt_index(at in any::<prop::sample::Index>(), byte: u8) {
        let (mut component, _) = sound();
        component.digest = component.payload_digest();
        let mut data = serde_json::to_vec(&Index { format: 1, components: vec![component] }).expect("JSON");
        let at = at.index(data.len());
        data[at] = byte;
        fuzzing::index(&data);
    }
}

/// A reader stops where the header says that the load commands end; the packer must not go on.
#[test]
fn load_commands_that_the_header_does_not_cover_make_no_carrier() {
    use crate::images::{Signature, macho};
    for len in [16_u32, 0, u32::MAX, 0x0002_0000] {
        let mut data = macho(Signature::AdHoc);
        data[20..24].copy_from_slice(&len.to_le_bytes());
        let dir = scratch();
        let base = dir.path().join("base");
        std::fs::write(&base, &data).expect("written");
        let root = dir.path().join("tree");
        crate::fixtures::tree(&root);
        let out = dir.path().join("out");
        let error = crate::fixtures::try_pack(&base, &[("hello".into(), root)], &out)
            .expect_err("no load command is where the header says");
        assert!(error.to_string().contains("its load commands are cut off"), "{len}: {error}");
        assert!(!out.exists());
    }
}

#[test]
fn a_bundle_of_another_version_is_not_guessed_at() {
    let dir = scratch();
    let path = pack(dir.path(), CONTENT);
    let mut bytes = std::fs::read(&path).expect("the carrier");
    let footer = bytes.len() - 512;
    bytes[footer + 8] = 2;
    let digest = Digest::of(&bytes[footer..footer + 472]);
    bytes[footer + 472..footer + 504].copy_from_slice(digest.as_bytes());
    std::fs::write(&path, bytes).expect("written");
    assert!(matches!(Carrier::open(&path), Err(BundleError::UnknownVersion { found: 2, .. })));
    assert!(Carrier::read_footer(Path::new(&path)).is_err());
    assert_eq!(crate::fixtures::verify(&path).0, 4);
}
