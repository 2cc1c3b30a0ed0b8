//! Durations as the language writes them: an object of whole numbers, or text in the form of ISO 8601.

use serde_json::Value;
use std::time::Duration;

/// The parts of the object form, with their length in milliseconds.
const PARTS: [(&str, u64); 5] =
    [("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1000), ("milliseconds", 1)];

/// Nobody waits longer than ten years.
const LONGEST: u64 = 3650 * 86_400_000;

/// Reads a duration.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(super) fn read(value: &Value) -> Result<Duration, String> {
    let millis = match value {
        Value::Object(parts) => {
            if parts.is_empty() {
                return Err(
                    "a duration has at least one of days, hours, minutes, seconds, milliseconds".into()
                );
            }
            let mut sum = 0_u64;
            for (name, count) in parts {
                let Some((_, length)) = PARTS.iter().find(|(part, _)| part == name) else {
                    return Err(format!(
                        "`{name}` is no part of a duration; there are days, hours, minutes, seconds, milliseconds"
                    ));
                };
                let count =
                    count.as_u64().ok_or_else(|| format!("`{name}` is a whole number, not below 0"))?;
                sum = sum.saturating_add(count.saturating_mul(*length));
            }
            sum
        }
        Value::String(text) => iso(text).ok_or_else(|| {
            format!("`{text}` is no duration; `PT30S` is one, and `P1DT12H`, or {{seconds: 30}}")
        })?,
        _ => return Err("a duration is written as {seconds: 30} or as \"PT30S\"".into()),
    };
    if millis > LONGEST {
        return Err("a duration of more than ten years".into());
    }
    Ok(Duration::from_millis(millis))
}

/// `P1DT2H3M4.5S` in milliseconds. Years and months have no fixed length, so they are none.
fn iso(text: &str) -> Option<u64> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').map_or((rest, None), |(date, time)| (date, Some(time)));
    if time.is_some_and(str::is_empty) || date.is_empty() && time.is_none() {
        return None;
    }
    let date = parts(date, &[('W', 7 * 86_400_000), ('D', 86_400_000)])?;
    let time = parts(time.unwrap_or_default(), &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?;
    Some(date.saturating_add(time))
}

/// The sum of numbers with units, each unit at most once and in this order; only seconds have a fraction.
fn parts(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut sum = 0_u64;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let (_, length) = units.by_ref().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.contains('.') && (unit != 'S' || fraction.is_empty() || fraction.len() > 9) {
            return None;
        }
        sum = sum.saturating_add(whole.parse::<u64>().ok()?.saturating_mul(*length));
        let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
        sum = sum.saturating_add(millis.parse().ok()?);
        text = &rest[1..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_read() {
        for (value, millis) in [
            (json!({"seconds": 2}), 2000),
            (json!({"days": 1, "hours": 2, "minutes": 3, "seconds": 4, "milliseconds": 5}), 93_784_005),
            (json!({"milliseconds": 0}), 0),
            (json!("PT30S"), 30_000),
            (json!("PT0.25S"), 250),
            (json!("P1DT2H"), 93_600_000),
            (json!("P2W"), 1_209_600_000),
            (json!("PT1M0.5S"), 60_500),
        ] {
            assert_eq!(read(&value), Ok(Duration::from_millis(millis)), "{value}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for value in [
            json!({}),
            json!({"second": 1}),
            json!({"seconds": -1}),
            json!({"seconds": 1.5}),
            json!({"days": 4000}),
            json!(30),
            json!("30s"),
            json!("P"),
            json!("PT"),
            json!("P1M"),
            json!("PT1S1M"),
            json!("PT1.5M"),
            json!("PT1.S"),
            json!("P1DT"),
            json!("PTS"),
        ] {
            assert!(read(&value).is_err(), "{value}");
        }
    }
}
