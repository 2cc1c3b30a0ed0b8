//! Every kind of damage to a carrier is noticed, named, and told by the exit code of `bundle verify`.

use crate::fixtures::{index_of, pack, scratch, stigmer, verify};
use crate::images;
use std::ops::Range;
use std::path::{Path, PathBuf};
use stigmer::bundle::Carrier;

const FOOTER: usize = 512;

/// A small carrier in its own directory.
struct Subject {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    bundle: Range<usize>,
    path: PathBuf,
}

fn subject(base: &[u8]) -> Subject {
    let dir = scratch();
    let path = pack(dir.path(), base);
    let opened = Carrier::open(&path).expect("a carrier");
    let range = opened.range();
    Subject {
        bytes: opened.bytes().to_vec(),
        bundle: usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap(),
        path,
        dir,
    }
}

impl Subject {
    fn with(&self, change: impl FnOnce(&mut Vec<u8>)) -> (i32, String) {
        let mut bytes = self.bytes.clone();
        change(&mut bytes);
        let path = self.dir.path().join("changed");
        std::fs::write(&path, bytes).expect("written");
        verify(&path)
    }

    fn flipped(&self, at: usize) -> (i32, String) {
        self.with(|bytes| bytes[at] ^= 0x10)
    }
}

#[test]
fn a_flipped_byte_is_detected_and_named_wherever_it_is() {
    let subject = subject(&images::elf(true, false));
    let start = subject.bundle.start;
    let footer = subject.bundle.end - FOOTER;
    let index = index_of(&subject.path);
    // The code part: the program, the section table, the note's header. The bundle is at the end all the same.
    for at in [70, 100, start - 100, start - 12, start - 1] {
        let (code, said) = subject.flipped(at);
        assert_eq!(code, 8, "byte {at}: {said}");
        assert!(said.contains("bundle intact") && said.contains("changed since packing"), "{said}");
    }
    // The head.
    for at in start..start + 16 {
        let (code, said) = subject.flipped(at);
        assert_eq!(code, 1, "byte {at}: {said}");
        assert!(said.contains("first bytes"), "{said}");
    }
    // Each frame, at both ends.
    for (number, frame) in index.components[0].frames.iter().enumerate() {
        let begin = start + usize::try_from(frame.offset.get()).unwrap();
        for at in [begin, begin + usize::try_from(frame.len).unwrap() - 1] {
            let (code, said) = subject.flipped(at);
            assert_eq!(code, 1, "byte {at}: {said}");
            assert!(said.contains(&format!("hello: frame {number}: ")), "{said}");
            assert!(said.contains(&format!("at byte {begin} of the file")), "{said}");
            assert!(said.contains("lost: "), "{said}");
        }
    }
    // The index.
    let index_len = usize::try_from(Carrier::open(&subject.path).unwrap().footer().index_len).unwrap();
    for at in [footer - index_len, footer - index_len / 2, footer - 1] {
        let (code, said) = subject.flipped(at);
        assert_eq!(code, 1, "byte {at}: {said}");
        assert!(said.contains("index: its digest"), "{said}");
    }
    // Every field of the footer, and everything between them.
    for at in (footer..footer + FOOTER).step_by(4) {
        let (code, said) = subject.flipped(at);
        assert_eq!(code & 1, 1, "byte {at}: {said}");
        assert!(said.contains("footer: "), "{said}");
    }
}

#[test]
fn all_bad_frames_and_all_lost_files_are_reported() {
    let subject = subject(b"#!/bin/sh\n");
    let index = index_of(&subject.path);
    let frames = &index.components[0].frames;
    let (code, said) = subject.with(|bytes| {
        for frame in frames {
            bytes[subject.bundle.start + usize::try_from(frame.offset.get()).unwrap()] ^= 1;
        }
    });
    assert_eq!(code, 1);
    for number in 0..frames.len() {
        assert!(said.contains(&format!("frame {number}: ")), "{said}");
    }
    for file in index.components[0].files() {
        assert_eq!(said.contains(&format!("lost: {}\n", file.path)), file.size != 0, "{}: {said}", file.path);
    }
}

#[test]
fn a_cut_off_carrier_is_damaged_and_not_bare() {
    let subject = subject(&images::elf(true, false));
    let index = index_of(&subject.path);
    let start = subject.bundle.start;
    let footer = subject.bundle.end - FOOTER;
    let mut ends = vec![start, start + 16, footer, footer + 8, footer + FOOTER];
    for frame in &index.components[0].frames {
        ends.push(start + usize::try_from((frame.offset + frame.len).get()).unwrap());
    }
    for end in ends {
        for len in [end - 1, end, end + 1] {
            if len >= subject.bytes.len() {
                continue;
            }
            let (code, said) = subject.with(|bytes| bytes.truncate(len));
            assert_eq!(code, 1, "cut to {len}: {said}");
            assert!(said.contains("cut off") || said.contains("footer"), "cut to {len}: {said}");
        }
    }
    // In front of its section table nothing can be known but that the file is not whole.
    let (code, said) = subject.with(|bytes| bytes.truncate(100));
    assert_eq!(code, 1, "{said}");
}

#[test]
fn bytes_missing_from_the_middle_are_noticed() {
    let subject = subject(b"#!/bin/sh\n");
    let (code, said) =
        subject.with(|bytes| drop(bytes.drain(subject.bundle.start..subject.bundle.start + 4096)));
    assert_eq!(code, 1, "{said}");
    let (code, said) = subject.with(|bytes| drop(bytes.drain(..=subject.bundle.start)));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cut off"), "{said}");
}

#[test]
fn the_exit_code_tells_missing_from_unreadable() {
    let dir = scratch();
    let bare = dir.path().join("bare");
    std::fs::write(&bare, "#!/bin/sh\n").expect("written");
    let (code, said) = verify(&bare);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("carries no bundle"), "{said}");
    std::fs::write(&bare, "").expect("written");
    assert_eq!(verify(&bare).0, 2, "an empty file");
    assert_eq!(verify(&dir.path().join("none")).0, 4);
    assert_eq!(verify(dir.path()).0, 4, "a directory");
}

#[test]
fn a_damaged_carrier_gives_nothing_out() {
    let subject = subject(b"#!/bin/sh\n");
    let index = index_of(&subject.path);
    let last = index.components[0].frames.last().expect("a frame");
    let mut bytes = subject.bytes.clone();
    bytes[subject.bundle.start + usize::try_from(last.offset.get()).unwrap()] ^= 1;
    std::fs::write(&subject.path, bytes).expect("written");
    let left = |dir: &Path| std::fs::read_dir(dir).expect("a directory").count();
    let before = left(subject.dir.path());
    let to = subject.dir.path().join("out");
    let (carrier, to) = (subject.path.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    let output = stigmer(&["bundle", "extract", carrier, "--component", "hello", "--to", to]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    // The last frame holds text; what comes before it is sound and can be taken out.
    let text = ["bundle", "extract", carrier, "--component", "hello", "--file", "share/text.txt", "--to"];
    let output = stigmer(&[&text[..], &["-"]].concat());
    assert_eq!(output.status.code(), Some(65));
    assert!(output.stdout.is_empty(), "not one byte of it");
    let output = stigmer(&[&text[..], &[to]].concat());
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(left(subject.dir.path()), before, "nothing is left behind");
    let script = ["bundle", "extract", carrier, "--component", "hello", "--file", "bin/hello", "--to", "-"];
    let output = stigmer(&script);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.starts_with(b"#!/bin/sh"));
}
