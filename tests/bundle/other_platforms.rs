//! Carriers of other platforms, packed and read on this one.

use crate::fixtures::{listing, pack, scratch, small_cutting, tree, try_pack, verify, write};
use crate::images::{self, Signature};
use crate::signature;
use object::Object;
use std::path::Path;
use stigmer::bundle::{BundleError, Carrier, Packing};

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
            assert_eq!(Carrier::open(&carrier).expect("a carrier").kind().name, "ELF");
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
fn macho_grows_its_last_segment_over_the_bundle_and_its_signature() {
    for before in [Signature::None, Signature::AdHoc] {
        let dir = scratch();
        let carrier = pack(dir.path(), &images::macho(before));
        let opened = Carrier::open(&carrier).expect("a carrier");
        assert_eq!(opened.kind().name, "Mach-O");
        let bytes = opened.bytes();
        assert_eq!(opened.range().start % 16, 0);
        let signed = signature::check(bytes).expect("a signature that holds");
        assert_eq!(
            opened.range().end,
            signed.range.start as u64,
            "the bundle ends where the signature begins"
        );
        assert_eq!(signed.identifier, "hello");
        assert_eq!((signed.version, signed.flags, signed.page), (0x2_0400, 2, 4096));
        assert_eq!(signed.text, (0, 0x4000, 1));
        assert_eq!(signed.slots, [(0, 0xfade_0c02), (2, 0xfade_0c01), (0x1_0000, 0xfade_0b01)]);
        let (code, said) = verify(&carrier);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("not recorded"), "{said}");
        extract_equals(&carrier, dir.path());
        // Every page is covered, to the last byte of the last one.
        for at in [0x20, 0x4000, signed.limit / 2, signed.limit - 1] {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            assert!(signature::check(&other).is_err(), "byte {at}");
        }
        // Cut off anywhere behind its load commands, it is damaged and not bare.
        for len in [0x4000, bytes.len() / 2, signed.range.start - 1] {
            let name = dir.path().join("short");
            std::fs::write(&name, &bytes[..len]).expect("written");
            assert_eq!(verify(&name).0, 1, "cut at {len}");
        }
    }
}

#[test]
fn macho_left_unsigned_is_signed_by_others() {
    let dir = scratch();
    tree(&dir.path().join("tree"));
    write(&dir.path().join("base"), images::macho(Signature::AdHoc));
    let out = dir.path().join("carrier");
    let packed = Packing {
        base: &dir.path().join("base"),
        components: &[("hello".into(), dir.path().join("tree"))],
        out: &out,
        cutting: small_cutting(),
        self_check: false,
        identifier: None,
    }
    .run()
    .expect("a carrier");
    assert!(!packed.signed);
    let opened = Carrier::open(&out).expect("a carrier");
    let bytes = opened.bytes();
    assert_eq!(signature::check(bytes).expect_err("none"), "no signature");
    assert_eq!(opened.range().end, bytes.len() as u64, "nothing follows it");
    let parsed = object::File::parse(bytes).expect("an object file");
    let object::File::MachO64(parsed) = parsed else { panic!("it is 64-bit") };
    let (at, len) = object::ObjectSegment::file_range(&parsed.segments().last().expect("segments"));
    assert_eq!(at + len, bytes.len() as u64, "`__LINKEDIT` ends with the file");
    let mut signed = bytes.to_vec();
    images::sign_macho(&mut signed);
    std::fs::write(dir.path().join("signed"), &signed).expect("written");
    assert_eq!(verify(&dir.path().join("signed")).0, 0);
    extract_equals(&dir.path().join("signed"), dir.path());
}

#[test]
fn macho_without_room_for_the_signatures_load_command_is_refused() {
    // The first section begins where the load commands end; or there is room, and something stands in it.
    let mut base = images::macho(Signature::None);
    let end = 32 + u32::from_le_bytes(base[20..24].try_into().expect("four bytes")) as usize;
    base[end + 3] = 1;
    assert!(refused(&base).contains("a signature need"));
    assert!(refused(&images::macho_with_code_at(8)).contains("8 bytes are free"));
    let dir = scratch();
    let carrier = pack(dir.path(), &images::macho_with_code_at(16));
    signature::check(&std::fs::read(carrier).expect("the carrier")).expect("a signature that holds");
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
    assert_eq!(opened.kind().name, "PE");
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
