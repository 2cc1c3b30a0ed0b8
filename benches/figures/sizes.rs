//! How large the payload is, raw and packed, against the usual archives of the same tree.

use crate::figure::{Bar, Figure, Row, Unit};
use crate::materialize::identity;
use crate::measure::bytes;
use crate::{Context, Outcome};
use stigmer::bundle::Carrier;

const METHOD: &str = "The carrier's file size: the executable and everything it carries. The bundle is cut into frames that can be fetched and checked \
    one by one, each with its own digest, so it is not one long zstd window like the archive beside it. Archives: `zstd -19`, `gzip -9`.";

pub(crate) fn measure(context: &Context) -> Outcome<Figure> {
    let identity = identity(context)?;
    let carrier = Carrier::open(&context.stigmer)?;
    let index = carrier.index()?;
    let raw: u64 = index.components.iter().map(stigmer::bundle::Component::raw_len).sum();
    let range = carrier.range();
    let bundle = bytes(range.end - range.start);
    let archive = |compress: &[&str]| -> Outcome<f64> {
        let path = context.scratch.archive(&context.tree, &identity, compress)?;
        Ok(bytes(path.metadata()?.len()))
    };
    let whole = bytes(carrier.bytes().len() as u64);
    let against = |peer, size| Row::against("bundle", Unit::Bytes, bundle, (peer, size), Bar::Reported);
    let rows = vec![
        Row::alone("carrier", Unit::Bytes, whole, Bar::AtMost(45e6)),
        Row::against("bundle", Unit::Bytes, bundle, ("the files themselves", bytes(raw)), Bar::Reported),
        against("tar.zst (-19)", archive(&["zstd", "-19"])?),
        against("tar.gz (-9)", archive(&["gzip", "-9"])?),
    ];
    Ok(Figure { method: METHOD.into(), rows, ..Figure::default() })
}
