//! The manifest: what an entry must hold, kept beside it.
//!
//! An executable knows the content of its own components only. The manifest lets any version verify, and reuse files of, an
//! entry that another version made. It needs no signature: the payload digest of what it lists must be the entry's name.

use super::{Place, record};
use std::io;
use stigmer_bundle::{Component, Digest, Index};

/// Writes `component` as the manifest at `place`, whole or not at all. The frames are left out: they belong to a carrier.
pub(super) fn write(place: &Place, component: &Component) -> io::Result<()> {
    let listed = Component { frames: Vec::new(), ..component.clone() };
    record::write(place, "manifest", &place.manifest(), &serde_json::to_vec(&listed)?)
}

/// Writes the manifest at `place` unless a sound one stands there.
pub(super) fn ensure(place: &Place, component: &Component) -> io::Result<()> {
    if read(place).is_some() { Ok(()) } else { write(place, component) }
}

/// Reads the manifest at `place`; `None` if there is none, or it is not the entry's.
pub fn read(place: &Place) -> Option<Component> {
    let path = place.manifest();
    if path.metadata().ok()?.len() > stigmer_bundle::Limits::INDEX_LEN {
        return None;
    }
    let component: Component = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let own: Digest = component.payload_digest();
    let is_own = component.digest == own && own == place.digest();
    (is_own && Index::check_manifest(&component).is_ok()).then_some(component)
}
