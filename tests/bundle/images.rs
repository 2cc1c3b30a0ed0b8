//! The smallest executables of each kind that have what a packer looks at. None of them runs.

/// An ELF file with a section table: `.text`, and the names of the sections.
pub(crate) fn elf(is_64: bool, big_endian: bool) -> Vec<u8> {
    let mut image = Image { bytes: Vec::new(), big_endian, is_64 };
    let header_len: u16 = if is_64 { 64 } else { 52 };
    let section_len: u16 = if is_64 { 64 } else { 40 };
    let code = [0x90; 96];
    let names = b"\0.text\0.shstrtab\0";
    let code_at = u64::from(header_len);
    let names_at = code_at + code.len() as u64;
    let table_at = (names_at + names.len() as u64).next_multiple_of(8);
    image.bytes.extend([0x7f, b'E', b'L', b'F']);
    image.bytes.extend([if is_64 { 2 } else { 1 }, if big_endian { 2 } else { 1 }, 1, 0]);
    image.bytes.extend([0; 8]);
    image.half(2); // executable
    image.half(if is_64 { 62 } else { 20 });
    image.four(1);
    image.word(0); // entry
    image.word(0); // no program headers
    image.word(table_at);
    image.four(0);
    image.half(header_len);
    image.half(0);
    image.half(0);
    image.half(section_len);
    image.half(3);
    image.half(2);
    image.bytes.extend(code);
    image.bytes.extend(names);
    image.bytes.resize(usize::try_from(table_at).expect("small"), 0);
    image.section(0, 0, 0, 0);
    image.section(1, 1, code_at, code.len() as u64);
    image.section(7, 3, names_at, names.len() as u64);
    image.bytes
}

struct Image {
    bytes: Vec<u8>,
    big_endian: bool,
    is_64: bool,
}

impl Image {
    fn put(&mut self, little_endian: &[u8]) {
        let mut bytes = little_endian.to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
    }

    fn half(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn four(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn word(&mut self, value: u64) {
        if self.is_64 {
            self.put(&value.to_le_bytes());
        } else {
            self.four(u32::try_from(value).expect("small"));
        }
    }

    fn section(&mut self, name: u32, kind: u32, at: u64, len: u64) {
        self.four(name);
        self.four(kind);
        self.word(0);
        self.word(0);
        self.word(at);
        self.word(len);
        self.four(0);
        self.four(0);
        self.word(1);
        self.word(0);
    }
}

/// How a Mach-O file is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Not at all.
    None,
    /// By nobody.
    AdHoc,
    /// With an identity.
    Identity,
}

/// A 64-bit Mach-O file: `__TEXT`, and a `__LINKEDIT` of some names and perhaps a signature.
pub(crate) fn macho(signature: Signature) -> Vec<u8> {
    let page = 0x4000_usize;
    let strings = b"\0_main\0_other\0\0\0";
    let signed = signature != Signature::None;
    let blob = signature_blob(signature);
    let signature_at = page + strings.len();
    let linkedit_len = strings.len() + if signed { blob.len() } else { 0 };
    let mut commands = Vec::new();
    commands.extend(segment("__TEXT", 0, 0x1_0000_0000, page, page));
    commands.extend(segment("__LINKEDIT", page, 0x1_0000_4000, page, linkedit_len));
    for value in [0x2, 24, page, 0, page, strings.len()] {
        commands.extend(u32::try_from(value).expect("small").to_le_bytes());
    }
    if signed {
        for value in [0x1d, 16, signature_at, blob.len()] {
            commands.extend(u32::try_from(value).expect("small").to_le_bytes());
        }
    }
    let mut out = Vec::new();
    let count = if signed { 4 } else { 3 };
    for value in [0xfeed_facf_u32, 0x0100_000c, 0, 2, count] {
        out.extend(value.to_le_bytes());
    }
    out.extend(u32::try_from(commands.len()).expect("small").to_le_bytes());
    out.extend([0; 8]);
    out.extend(commands);
    out.resize(page, 0);
    out.extend(strings);
    if signed {
        out.extend(blob);
    }
    out
}

/// An unsigned one whose `__text` begins `free` bytes behind the load commands.
pub(crate) fn macho_with_code_at(free: usize) -> Vec<u8> {
    let mut out = macho(Signature::None);
    let text = 32;
    let mut section = Vec::new();
    section.extend(b"__text\0\0\0\0\0\0\0\0\0\0__TEXT\0\0\0\0\0\0\0\0\0\0");
    section.resize(80, 0);
    let commands_len = u32::from_le_bytes(out[20..24].try_into().expect("four bytes")) + 80;
    let code_at = 32 + commands_len as usize + free;
    section[48..52].copy_from_slice(&u32::try_from(code_at).expect("small").to_le_bytes());
    out.splice(text + 72..text + 72, section);
    out.drain(0x4000..0x4050);
    out[20..24].copy_from_slice(&commands_len.to_le_bytes());
    out[text + 4..text + 8].copy_from_slice(&152_u32.to_le_bytes());
    out[text + 64..text + 68].copy_from_slice(&1_u32.to_le_bytes());
    // Code may begin with zero bytes: that a place is zero does not make it free.
    out[code_at + 16..code_at + 20].copy_from_slice(&[0xc0, 0x03, 0x5f, 0xd6]);
    out
}

fn segment(name: &str, at: usize, address: u64, memory: usize, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0x19_u32.to_le_bytes());
    out.extend(72_u32.to_le_bytes());
    let mut padded = [0; 16];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    out.extend(padded);
    for value in [address, memory as u64, at as u64, len as u64] {
        out.extend(value.to_le_bytes());
    }
    out.extend([0; 16]);
    out
}

fn signature_blob(signature: Signature) -> Vec<u8> {
    let flags: u32 = if signature == Signature::AdHoc { 2 } else { 0 };
    let mut out = Vec::new();
    for value in [0xfade_0cc0_u32, 36, 1, 0, 20, 0xfade_0c02, 16, 0x20400, flags] {
        out.extend(value.to_be_bytes());
    }
    out.resize(48, 0);
    out
}

/// Puts a signature behind a Mach-O file as a signer does: aligned, in `__LINKEDIT`, with its load command.
pub(crate) fn sign_macho(file: &mut Vec<u8>) {
    let at = file.len().next_multiple_of(16);
    file.resize(at, 0);
    let blob = signature_blob(Signature::AdHoc);
    let count = u32::from_le_bytes(file[16..20].try_into().expect("four bytes"));
    let len = u32::from_le_bytes(file[20..24].try_into().expect("four bytes"));
    let command_at = 32 + len as usize;
    for (i, value) in [0x1d, 16, at, blob.len()].into_iter().enumerate() {
        let bytes = u32::try_from(value).expect("small").to_le_bytes();
        file[command_at + i * 4..command_at + i * 4 + 4].copy_from_slice(&bytes);
    }
    file[16..20].copy_from_slice(&(count + 1).to_le_bytes());
    file[20..24].copy_from_slice(&(len + 16).to_le_bytes());
    file.extend(blob);
}

/// A 64-bit PE file with one section.
pub(crate) fn pe() -> Vec<u8> {
    let mut out = vec![0; 0x40];
    out[..2].copy_from_slice(b"MZ");
    out[0x3c] = 0x40;
    out.extend(b"PE\0\0");
    for value in [0x8664_u16, 1] {
        out.extend(value.to_le_bytes());
    }
    out.extend([0; 12]);
    for value in [240_u16, 0x22] {
        out.extend(value.to_le_bytes());
    }
    let optional_at = out.len();
    out.resize(optional_at + 240, 0);
    out[optional_at..optional_at + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
    out[optional_at + 60..optional_at + 64].copy_from_slice(&0x200_u32.to_le_bytes());
    out[optional_at + 108..optional_at + 112].copy_from_slice(&16_u32.to_le_bytes());
    out.extend(b".text\0\0\0");
    for value in [0x64_u32, 0x1000, 0x64, 0x200] {
        out.extend(value.to_le_bytes());
    }
    out.extend([0; 16]);
    out.resize(0x200, 0);
    out.extend([0x90; 0x64]);
    out
}

/// Where a PE file's header says its certificates lie.
const CERTIFICATES: usize = 0x40 + 24 + 112 + 4 * 8;

/// Puts certificates behind a PE file as a signer does.
pub(crate) fn sign_pe(file: &mut Vec<u8>) {
    let at = file.len().next_multiple_of(8);
    file.resize(at, 0);
    file[CERTIFICATES..CERTIFICATES + 4].copy_from_slice(&u32::try_from(at).expect("small").to_le_bytes());
    file[CERTIFICATES + 4..CERTIFICATES + 8].copy_from_slice(&64_u32.to_le_bytes());
    file.extend([7; 64]);
}
