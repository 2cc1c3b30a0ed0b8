//! A small file beside an entry, written whole or not at all.

use super::Place;
use std::io::{self, Write};
use std::path::Path;

/// Its permission bits.
const MODE: u32 = 0o644;

/// Writes `bytes` to `to`, which lies in the store, by way of a temporary file whose name begins with `.tmp-KIND-`. Everybody
/// may read it: a home may be one user's and used by others.
pub(super) fn write(place: &Place, kind: &str, to: &Path, bytes: &[u8]) -> io::Result<()> {
    let failed = |e: io::Error| {
        io::Error::new(e.kind(), format!("failed to write the {kind} `{}`: {e}", to.display()))
    };
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".tmp-{kind}-"))
        .tempfile_in(place.root().store())
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    stigmer_platform::set_file_mode(file.as_file(), MODE).map_err(failed)?;
    file.persist(to).map_err(|e| failed(e.error))?;
    Ok(())
}
