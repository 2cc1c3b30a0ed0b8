//! A damaged carrier: whatever is wrong with it, nothing of it is published.

use object::{Object, ObjectSection};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use stigmer::bundle::{Carrier, FOOTER_LEN, HEAD_LEN};
use stigmer_test_support::store::{NAME, Payload, World, carrier};

/// Where the parts of a carrier lie in its file.
struct Parts {
    head: Range<u64>,
    frames: Vec<Range<u64>>,
    index: Range<u64>,
    footer: Range<u64>,
    /// What the packer put in front of the bundle: names and section table.
    table: Range<u64>,
}

fn parts(path: &Path) -> Parts {
    let carrier = Carrier::open(path).expect("a carrier");
    let bundle = carrier.range();
    let component = carrier.component(NAME).expect("the component");
    let frames: Vec<_> = component.frames.iter().map(|frame| carrier.frame_range(frame)).collect();
    let footer = bundle.end - FOOTER_LEN as u64..bundle.end;
    let bare = std::fs::metadata(env!("CARGO_BIN_EXE_stigmer")).expect("the bare binary").len();
    Parts {
        head: bundle.start..bundle.start + HEAD_LEN as u64,
        index: footer.start - carrier.footer().index_len..footer.start,
        footer,
        frames,
        table: bare..bundle.start,
    }
}

/// A few places in a range: both ends, the middle, and what lies between.
fn places(range: &Range<u64>) -> Vec<u64> {
    let count = if std::env::var_os("STIGMER_SOAK").is_some() { 64 } else { 4 };
    let len = range.end - range.start;
    let mut all: Vec<u64> = (0..count).map(|i| range.start + len * i / count).collect();
    all.push(range.end - 1);
    all.dedup();
    all
}

/// Both ways to use a carrier refuse it, name what is wrong, and publish nothing.
#[track_caller]
fn assert_refused(exe: &Path, what: &str) {
    for args in [&["exec", NAME, "--", "hello"][..], &["cache", "warm"]] {
        let world = World::new();
        let ran = world.run(exe, args);
        assert_eq!(ran.code, Some(65), "{what} {args:?}: {ran:#?}");
        assert_eq!(ran.out, "", "{what}");
        ran.says(&["is damaged", exe.to_str().expect("text"), "hint: install this file again"]);
        world.assert_nothing_published();
        world.assert_no_leftovers();
    }
}

fn flip(file: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(file).expect("not running");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("inside");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

#[test]
fn a_flipped_byte_anywhere_in_the_bundle_is_refused() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let parts = parts(&exe);
    assert!(parts.frames.len() >= 3, "several frames");
    let regions = [("head", &parts.head), ("index", &parts.index), ("footer", &parts.footer)];
    let frames = parts.frames.iter().map(|range| ("frame", range));
    for (name, range) in regions.into_iter().chain(frames) {
        for at in places(range) {
            flip(&exe, at);
            assert_refused(&exe, &format!("{name}, byte {at}"));
            flip(&exe, at);
        }
    }
    world.run(&exe, &["exec", NAME, "--", "hello"]).code(0);
}

/// Whoever makes a bundle can make every digest fit but those of the files: they are what the entry is named by.
#[test]
fn a_frame_with_other_content_and_a_fitting_digest_is_refused() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let parts = parts(&exe);
    let component = Carrier::open(&exe).and_then(|c| c.component(NAME)).expect("the component");
    // What does not compress stands in its frame as it is, and another byte there is another byte of a file.
    let (frame, range) = component
        .frames
        .iter()
        .zip(&parts.frames)
        .find(|(frame, _)| frame.len >= frame.raw)
        .expect("a frame of noise");
    let mut bytes = std::fs::read(&exe).expect("readable");
    let at = |position: u64| usize::try_from(position).expect("a position");
    bytes[at(range.start.midpoint(range.end))] ^= 1;
    let fitting = blake3::hash(&bytes[at(range.start)..at(range.end)]).to_hex().to_string();
    let index = &mut bytes[at(parts.index.start)..at(parts.index.end)];
    let text = std::str::from_utf8(index).expect("JSON").replace(&frame.blake3.to_string(), &fitting);
    index.copy_from_slice(text.as_bytes());
    let index_digest = blake3::hash(index);
    let footer = &mut bytes[at(parts.footer.start)..];
    footer[32..64].copy_from_slice(index_digest.as_bytes());
    let footer_digest = blake3::hash(&footer[..472]);
    footer[472..504].copy_from_slice(footer_digest.as_bytes());
    std::fs::write(&exe, bytes).expect("written");
    assert_refused(&exe, "a frame of other content");
    let ran = world.run(&exe, &["exec", NAME]).code(65);
    ran.says(&["the content of `lib/", "does not match its digest"]);
}

/// Some of the index is bound by nothing but the digest in the footer.
#[test]
fn an_index_that_is_sound_and_another_is_refused() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let index = parts(&exe).index;
    let text = std::fs::read(&exe).expect("readable");
    let at = |position: u64| usize::try_from(position).expect("a position");
    let index_text = std::str::from_utf8(&text[at(index.start)..at(index.end)]).expect("JSON");
    let place = index_text.find(r#""version":"1.0""#).expect("a version") + r#""version":"1"#.len();
    let file = File::options().write(true).open(&exe).expect("not running");
    file.write_all_at(b"7", index.start + place as u64).expect("written");
    drop(file);
    assert_refused(&exe, "another version in the index");
}

/// The section table is for packagers. As long as the footer is where it was, nobody needs it.
#[test]
fn a_flipped_byte_in_the_section_table_harms_nothing() {
    let scratch = World::new();
    let exe = scratch.copy_of(Payload::One);
    for at in places(&parts(&exe).table) {
        flip(&exe, at);
        let world = World::new();
        let ran = world.run(&exe, &["exec", NAME, "--", "hello"]).code(0);
        assert_eq!(ran.out, "hello from One\n", "byte {at}");
        assert_eq!(world.problems(Payload::One), [], "byte {at}");
        flip(&exe, at);
    }
}

/// Whoever runs from a carrier whose frames are damaged later, runs.
#[test]
fn a_warm_start_needs_the_footer_alone() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    world.warm(Payload::One);
    let parts = parts(&exe);
    flip(&exe, parts.frames[0].start);
    world.run(&exe, &["exec", NAME, "--", "hello"]).code(0);
    // But it repairs nothing with them.
    let file = world.entry(Payload::One).join("lib/random.bin");
    stigmer_test_support::store::set_mode(&file, 0o644);
    std::fs::write(&file, "short").expect("damaged");
    for range in &parts.frames[1..] {
        flip(&exe, range.start);
    }
    world.run(&exe, &["cache", "warm"]).code(65).says(&["does not match its digest"]);
    assert_ne!(world.problems(Payload::One), []);
    assert_ne!(world.run(carrier(Payload::One), &["cache", "verify"]).code, Some(0));
    world.run(carrier(Payload::One), &["exec", NAME]).code(0).says(&["repaired"]);
}

#[test]
fn a_carrier_cut_off_anywhere_is_refused() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let parts = parts(&exe);
    let mut cuts =
        vec![parts.footer.end - 1, parts.footer.start + 1, parts.footer.start, parts.footer.start - 1];
    cuts.extend([parts.index.start + 1, parts.index.start, parts.index.start - 1]);
    for frame in parts.frames.iter().rev() {
        cuts.extend([frame.start + 1, frame.start]);
    }
    cuts.extend([parts.head.end, parts.head.start + 1, parts.head.start, parts.head.start - 1]);
    cuts.extend([parts.table.start + 1, parts.table.start, parts.table.start - 1]);
    cuts.sort_unstable();
    cuts.dedup();
    for cut in cuts.into_iter().rev() {
        File::options().write(true).open(&exe).and_then(|file| file.set_len(cut)).expect("cut off");
        assert_refused(&exe, &format!("cut off at {cut}"));
    }
}

#[test]
fn what_is_appended_behind_the_bundle_does_not_hide_it() {
    let world = World::new();
    let exe = world.copy_of(Payload::One);
    let len = exe.metadata().expect("a file").len();
    File::options()
        .write(true)
        .open(&exe)
        .and_then(|file| file.write_all_at(&[7; 5000], len))
        .expect("appended");
    world.run(&exe, &["exec", NAME, "--", "hello"]).code(0);
    // And then the section table is all that leads to it.
    let bytes = std::fs::read(&exe).expect("readable");
    let elf = object::File::parse(&*bytes).expect("ELF");
    let (at, size) =
        elf.section_by_name(".stigmer.bundle").and_then(|s| s.file_range()).expect("its section");
    drop(bytes);
    flip(&exe, at + size - 1);
    assert_refused(&exe, "the moved footer's last byte");
}
