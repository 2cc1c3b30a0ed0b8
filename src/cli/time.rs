//! Ages and durations in one unit, as tables show them.

use std::time::SystemTime;

/// Formats the age of a time of RFC 3339; `?` if it is none. A clock that was set back makes the age zero.
pub(super) fn ago(time: &str) -> String {
    humantime::parse_rfc3339(time)
        .map_or_else(|_| "?".to_owned(), |time| short(time.elapsed().unwrap_or_default().as_secs()))
}

/// Formats the age of a time that is kept with a precision of two hours; `?` if it is unknown.
pub(super) fn coarse_age(time: Option<SystemTime>) -> String {
    match time.map(|time| time.elapsed().unwrap_or_default().as_secs()) {
        None => "?".to_owned(),
        Some(0..7200) => "now".to_owned(),
        Some(seconds) => format!("{} ago", short(seconds)),
    }
}

/// Formats a number of seconds in its largest whole unit.
pub(super) fn short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_short() {
        let words = [0, 59, 60, 3599, 3600, 172_799, 172_800, 864_000].map(short);
        assert_eq!(words, ["0s", "59s", "1m", "59m", "1h", "47h", "2d", "10d"]);
        assert_eq!(ago("rubbish"), "?");
        assert_eq!(ago("2999-01-01T00:00:00.000Z"), "0s");
    }

    #[test]
    fn a_coarse_age_claims_no_precision_that_it_lacks() {
        let before = |seconds| coarse_age(SystemTime::now().checked_sub(Duration::from_secs(seconds)));
        assert_eq!([before(0), before(7000), before(10_900)], ["now", "now", "3h ago"]);
        assert_eq!(coarse_age(None), "?");
    }
}
