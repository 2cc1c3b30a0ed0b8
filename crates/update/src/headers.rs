//! What the headers of an answer say: how long it is, which part of a file, when to come back.

use super::http::{Trouble, Why};
use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, header};

/// The pause a host asks for: in seconds, or until a time.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// A tag that names these very bytes; a weak one does not.
pub(super) fn strong_tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?.trim();
    (tag.starts_with('"')).then(|| tag.to_owned())
}

/// Whether the part that came is the one that was asked for: `bytes 100-199/1000`.
pub(super) fn check_range(headers: &HeaderMap, start: u64, size: u64) -> Result<(), Trouble> {
    let text = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parts = text.trim().strip_prefix("bytes ").and_then(|rest| rest.split_once('/'));
    let Some((range, total)) = parts else {
        return Err(Trouble::Final(Why::NoRanges));
    };
    if let Ok(found) = total.parse::<u64>()
        && found != size
    {
        return Err(Trouble::Final(Why::Size { found, expected: size }));
    }
    let first = range.split_once('-').and_then(|(first, _)| first.parse::<u64>().ok());
    if first == Some(start) { Ok(()) } else { Err(Trouble::Final(Why::NoRanges)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_pause_is_in_seconds_or_until_a_time() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let asked = |value| retry_after(&headers(header::RETRY_AFTER, value), now);
        assert_eq!(asked("3"), Some(Duration::from_secs(3)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn only_the_part_that_was_asked_for_is_taken() {
        let check = |value| check_range(&headers(header::CONTENT_RANGE, value), 100, 1000);
        assert!(check("bytes 100-199/1000").is_ok());
        assert!(check("bytes 100-199/*").is_ok());
        assert!(matches!(check("bytes 0-199/1000"), Err(Trouble::Final(Why::NoRanges))));
        assert!(matches!(check("items 1-2/3"), Err(Trouble::Final(Why::NoRanges))));
        assert!(matches!(check("bytes 100-199/999"), Err(Trouble::Final(Why::Size { found: 999, .. }))));
    }

    #[test]
    fn a_weak_tag_names_no_bytes() {
        assert_eq!(strong_tag(&headers(header::ETAG, "W/\"x\"")), None);
        assert_eq!(strong_tag(&headers(header::ETAG, "\"x\"")), Some("\"x\"".into()));
    }
}
