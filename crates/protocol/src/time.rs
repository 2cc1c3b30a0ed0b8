//! Points in time as journals, logs and answers write them.

use std::time::SystemTime;

/// The current time: RFC 3339 in UTC with milliseconds, as in `2026-01-02T03:04:05.678Z`.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
