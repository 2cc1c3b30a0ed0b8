//! Points in time as journals, logs and answers write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time: RFC 3339 in UTC with milliseconds, as in `2026-01-02T03:04:05.678Z`.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// The current wall-clock time in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The latest time that can be written: the end of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

/// Formats milliseconds since the Unix epoch as [`now`] does. Times outside of 1970 to 9999 become the nearest one inside.
pub fn format_ms(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(ms.clamp(0, LATEST_MS)).unwrap_or_default());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_formatted_as_rfc_3339() {
        assert_eq!(format_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_ms(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(format_ms(-1), format_ms(0));
        assert_eq!(format_ms(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
