//! When a document was issued.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A time of issue, in whole seconds, written as RFC 3339 in UTC: `2026-03-01T12:00:00Z`, and in no other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Issued(SystemTime);

/// How far a clock may be behind before a person is told.
const TOLERATED: Duration = Duration::from_secs(86_400);

impl Issued {
    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()))
    }

    /// So many seconds after 1970 began, as in `SOURCE_DATE_EPOCH`. `None` after the year 9999.
    pub fn at_unix(seconds: u64) -> Option<Self> {
        const YEAR_10000: u64 = 253_402_300_800;
        (seconds < YEAR_10000).then(|| Self(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    /// The time.
    pub fn time(self) -> SystemTime {
        self.0
    }

    /// What to tell a person if `name` was issued more than a day after `now`: one of two clocks is wrong.
    pub fn clock_warning(self, name: &str, now: SystemTime) -> Option<String> {
        let ahead = self.0.duration_since(now).ok().filter(|ahead| *ahead > TOLERATED)?;
        let days = ahead.as_secs().div_ceil(86_400);
        Some(format!(
            "`{name}` was issued on {self}, {days} days from now: is the clock of this machine right?"
        ))
    }
}

impl fmt::Display for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_rfc3339_seconds(self.0), f)
    }
}

impl FromStr for Issued {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_rfc3339(text)
            .ok()
            .map(Self)
            .filter(|issued| issued.to_string() == text)
            .ok_or_else(|| format!("{text:?} is not a time like 2026-03-01T12:00:00Z"))
    }
}

impl TryFrom<String> for Issued {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Issued> for String {
    fn from(issued: Issued) -> Self {
        issued.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_written_form() {
        assert_eq!("2026-03-01T12:00:00Z".parse::<Issued>().unwrap().to_string(), "2026-03-01T12:00:00Z");
        for bad in ["2026-03-01 12:00:00Z", "2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00+01:00", "", "now"]
        {
            assert!(bad.parse::<Issued>().is_err(), "{bad}");
        }
        let now = Issued::now();
        assert_eq!(now.to_string().parse(), Ok(now));
        assert!(Issued::at_unix(253_402_300_799).unwrap().to_string().starts_with("9999-"));
        assert_eq!(Issued::at_unix(253_402_300_800), None);
    }

    #[test]
    fn a_clock_that_is_more_than_a_day_behind_is_remarked_on() {
        let issued: Issued = "2026-03-03T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Issued>().unwrap().time();
        assert_eq!(issued.clock_warning("x", at("2026-03-02T12:00:00Z")), None);
        assert_eq!(issued.clock_warning("x", at("2027-03-02T12:00:00Z")), None);
        assert_eq!(
            issued.clock_warning("releases.json", at("2026-03-01T11:00:00Z")).unwrap(),
            "`releases.json` was issued on 2026-03-03T12:00:00Z, 3 days from now: is the clock of this machine right?"
        );
    }
}
