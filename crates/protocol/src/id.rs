//! Ids of runs, workers, leases and executions.

use std::io;
use std::sync::{Mutex, PoisonError};
use stigmer_platform as platform;

/// The last id that this process has generated.
static LAST: Mutex<u128> = Mutex::new(0);

/// Generates an id: a lower-case ULID, 26 characters long, so that ids sort by age.
///
/// Ids of one process are strictly increasing, even within a millisecond and when the clock is set back.
///
/// # Errors
/// The system provides no randomness.
pub fn generate() -> io::Result<String> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut chance = [0_u8; 10];
    platform::random(&mut chance)?;
    let millis =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let low = chance.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    let value = (millis & 0xffff_ffff_ffff) << 80 | low;
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let value = value.max(last.wrapping_add(1));
    *last = value;
    Ok((0..26)
        .rev()
        .map(|place| char::from(ALPHABET[usize::try_from(value >> (5 * place) & 31).unwrap_or(0)]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_increase() {
        let (first, second) = (generate().expect("random"), generate().expect("random"));
        assert!(first < second, "{first} {second}");
        assert_eq!(first.len(), 26);
    }
}
