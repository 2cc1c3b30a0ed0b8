//! Carriers of other platforms, packed and read on this one.

mod bundle_common;

use bundle_common::images::{self, Signature};
use bundle_common::{listing, pack, scratch, tree, try_pack, verify, write};
use object::Object;
use std::path::Path;
use stigmer::bundle::{BundleError, Carrier, CarrierKind};

fn extract_equals(carrier: &Path, dir: &Path) {
    let opened = Carrier::open(carrier).expect("a carrier");
    let component = opened.component("hello").expect("the component");
    let to = dir.join("out");
    opened.extract(&component, &to).expect("extraction");
    assert_eq!(listing(&to), listing(&dir.join("tree")));
    std::fs::remove_dir_all(to).expect("removed");
}

fn refused(base: &[u8]) -> String {
    let dir = scratch();
    tree(&dir.path().join("tree"));
    write(&dir.path().join("base"), base);
    let out = dir.path().join("carrier");
    let error = try_pack(&dir.path().join("base"), &[("hello".into(), dir.path().join("tree"))], &out)
        .expect_err("it must be refused");
    assert!(!out.exists(), "nothing is left behind");
    assert!(matches!(error, BundleError::Refused { .. }), "{error}");
    error.to_string()
}

#[test]
fn elf_of_every_class_and_byte_order() {
    for is_64 in [true, false] {
        for big_endian in [true, false] {
            let dir = scratch();
            let base = images::elf(is_64, big_endian);
            let carrier = pack(dir.path(), &base);
            assert_eq!(Carrier::open(&carrier).expect("a carrier").kind(), CarrierKind::Elf);
            assert_eq!(verify(&carrier).0, 0);
            extract_equals(&carrier, dir.path());
            // Found by its section, too, when it is no longer at the end.
            let mut bytes = std::fs::read(&carrier).expect("the carrier");
            let parsed = object::File::parse(&*bytes).expect("an object file");
            assert!(parsed.section_by_name_bytes(b".stigmer.bundle").is_some());
            assert!(parsed.section_by_name_bytes(b".text").is_some());
            bytes.extend(b"something a packager put behind it");
            std::fs::write(&carrier, &bytes).expect("written");
            let (code, said) = verify(&carrier);
            assert_eq!(code, 8, "{said}");
            extract_equals(&carrier, dir.path());
        }
    }
}

#[test]
fn elf_without_sections_is_refused() {
    let mut base = images::elf(true, false);
    base[0x28..0x30].fill(0);
    base[0x3c..0x40].fill(0);
    assert!(refused(&base).contains("no section table"));
    let mut base = images::elf(true, false);
    base[0x3c..0x3e].fill(0);
    assert!(refused(&base).contains("more sections than fit"), "extended numbering");
}

#[test]
fn macho_grows_its_last_segment_over_the_bundle() {
    for signature in [Signature::None, Signature::AdHoc] {
        let dir = scratch();
        let carrier = pack(dir.path(), &images::macho(signature));
        let opened = Carrier::open(&carrier).expect("a carrier");
        assert_eq!(opened.kind(), CarrierKind::MachO);
        let bytes = opened.bytes();
        assert_eq!(opened.range().end, bytes.len() as u64, "nothing follows it");
        assert_eq!(opened.range().start % 16, 0);
        let parsed = object::File::parse(bytes).expect("an object file");
        let object::File::MachO64(parsed) = parsed else { panic!("it is 64-bit") };
        let mut segments = object::ObjectSegment::file_range(&parsed.segments().last().expect("segments"));
        segments.1 += segments.0;
        assert_eq!(segments.1, bytes.len() as u64, "`__LINKEDIT` ends with the file");
        let (code, said) = verify(&carrier);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("not recorded"), "{said}");
        extract_equals(&carrier, dir.path());
        // Signing comes after; the bundle is found in front of the signature.
        let mut signed = bytes.to_vec();
        images::sign_macho(&mut signed);
        std::fs::write(dir.path().join("signed"), &signed).expect("written");
        assert_eq!(verify(&dir.path().join("signed")).0, 0);
        extract_equals(&dir.path().join("signed"), dir.path());
        // Cut off anywhere behind its load commands, it is damaged and not bare.
        for len in [0x4000, bytes.len() / 2, bytes.len() - 1] {
            let name = dir.path().join("short");
            std::fs::write(&name, &signed[..len]).expect("written");
            assert_eq!(verify(&name).0, 1, "cut at {len}");
        }
    }
}

#[test]
fn macho_that_cannot_carry_is_refused() {
    assert!(refused(&images::macho(Signature::Identity)).contains("signed with an identity"));
    let mut base = images::macho(Signature::None);
    base.extend(b"something else, more than padding");
    assert!(refused(&base).contains("not last"));
    let mut base = images::macho(Signature::AdHoc);
    base[20..24].copy_from_slice(&8_u32.to_le_bytes());
    assert!(refused(&base).contains("load commands"));
    let universal = [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1, 1, 0, 0, 7, 0, 0, 0, 3];
    let mut base = universal.to_vec();
    base.resize(200, 0);
    assert!(refused(&base).contains("universal"));
}

#[test]
fn pe_carries_behind_its_sections_and_in_front_of_its_certificates() {
    let dir = scratch();
    let carrier = pack(dir.path(), &images::pe());
    let opened = Carrier::open(&carrier).expect("a carrier");
    assert_eq!(opened.kind(), CarrierKind::Pe);
    assert_eq!(opened.range().start % 8, 0);
    assert_eq!(verify(&carrier).0, 0);
    extract_equals(&carrier, dir.path());
    let mut signed = opened.bytes().to_vec();
    let whole = signed.len();
    images::sign_pe(&mut signed);
    std::fs::write(dir.path().join("signed"), &signed).expect("written");
    assert_eq!(verify(&dir.path().join("signed")).0, 0);
    extract_equals(&dir.path().join("signed"), dir.path());
    for len in [0x210, whole / 2, whole - 1] {
        let name = dir.path().join("short");
        std::fs::write(&name, &opened.bytes()[..len]).expect("written");
        assert_eq!(verify(&name).0, 1, "cut at {len}");
    }
}

#[test]
fn pe_that_cannot_carry_is_refused() {
    let mut base = images::pe();
    images::sign_pe(&mut base);
    assert!(refused(&base).contains("signed"));
    let mut base = images::pe();
    base.extend(b"an installer's data");
    assert!(refused(&base).contains("something else is appended"));
}
