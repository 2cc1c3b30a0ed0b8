//! The plain carrier: a file of no known object format, such as a script. The bundle follows its last byte.

use super::format::{CarrierFormat, CarrierKind, Prepared, pad};
use crate::footer::HEAD_LEN;
use crate::locate::{Located, Missing};

/// Any file that no other format detects.
pub(super) struct Plain;

impl CarrierFormat for Plain {
    fn kind(&self) -> CarrierKind {
        CarrierKind { name: "plain", is_code_final: true, must_be_signed: false }
    }

    fn detect(&self, _data: &[u8]) -> bool {
        true
    }

    fn is_native(&self, data: &[u8]) -> bool {
        data.starts_with(b"#!") && cfg!(unix)
    }

    /// Nothing in the file says where a bundle could be, so there is none but at the end of the file.
    fn locate(&self, _data: &[u8]) -> Result<Located, Missing> {
        Err(Missing::Bare)
    }

    fn prepare<'a>(
        &self,
        base: &[u8],
        _bundle_len: u64,
        _identifier: Option<&'a str>,
    ) -> Result<Prepared<'a>, String> {
        if let Ok(other) = object::FileKind::parse(base) {
            return Err(format!(
                "it is of the kind {other:?}, which cannot carry a bundle; of a universal binary, pack each slice"
            ));
        }
        let mut code = base.to_vec();
        pad(&mut code, HEAD_LEN);
        Ok(Prepared::unsealed(code))
    }
}
