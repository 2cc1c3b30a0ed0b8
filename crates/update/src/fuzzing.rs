//! One function for each reader of what is fetched, for `fuzz/` and for its small brother in `cargo test`.
//!
//! They are called behind a signature only, but a key can be lost. What is accepted keeps its promises; that nothing panics is the point.

use super::{Listing, Signed, TrustedKeys, UpdateIndex, What};

/// A key that signs nothing here.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// The update index. The runs of one that is accepted are the carrier, and its chunks the code part.
///
/// # Panics
/// If they are not.
pub fn update_index(data: &[u8]) {
    let Ok(index) = UpdateIndex::parse("fuzz", data) else {
        return;
    };
    let (mut at, mut raw) = (0, 0);
    for run in index.runs() {
        assert!(run.at == at && run.size > 0, "without gap or overlap");
        at += run.size;
        if let What::Code { raw_at } = run.what {
            assert_eq!(raw_at, raw, "in order");
            raw += run.size;
        }
    }
    assert_eq!((at, raw), (index.carrier.size, index.code.raw_size));
    let (mut at, mut raw) = (0, 0);
    for placed in index.code.placed() {
        assert_eq!((placed.at, placed.raw_at), (at, raw), "without gap or overlap");
        at += placed.chunk.size;
        raw += placed.chunk.raw_size;
    }
    assert_eq!((at, raw), (index.code.size, index.code.raw_size));
    assert_eq!(UpdateIndex::parse("fuzz", &index.to_bytes()), Ok(index), "it is written as it is read");
}

/// The listing. No address of one that is accepted leads out of the listing's directory on the same host.
///
/// # Panics
/// If one does.
pub fn listing(data: &[u8]) {
    let Ok(listing) = Listing::parse("fuzz", data) else {
        return;
    };
    for asset in listing.releases.iter().flat_map(|release| &release.assets) {
        let url = asset.resolve("https://host/dir/releases.json?x=/../y");
        let elsewhere = asset.url.starts_with("https://") || asset.url.starts_with("http://");
        assert!(elsewhere || (url.starts_with("https://host/dir/") && !url.contains("/../")));
    }
    assert_eq!(Listing::parse("fuzz", &listing.to_bytes()), Ok(listing), "it is written as it is read");
}

/// A signature, and a list of keys: what is before and after a zero byte.
///
/// # Panics
/// If a signature is accepted.
pub fn signature(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == 0);
    let (signature, keys) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut trusted = TrustedKeys::parse(&String::from_utf8_lossy(keys)).unwrap_or_default();
    for key in TrustedKeys::parse(KEY).unwrap_or_default().iter() {
        trusted.add(key.clone());
    }
    let signed = Signed { name: "fuzz", bytes: b"these bytes", signature: Some(signature) };
    // Whoever may name the key as well may of course sign.
    assert!(signed.key(&trusted).is_err() || trusted.iter().count() > 1);
}
