//! Rules for names that several processes agree on.

/// Whether `name` can be the name of an environment variable on every system: letters, digits and `_`, no digit first.
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A resource's name is at most this many bytes long: it becomes part of file names and addresses.
pub const MAX_NAME: usize = 63;

/// Whether `name` can be a resource's name: lower case letters, digits and hyphens, as a host name's label has them (RFC 1123).
///
/// # Errors
/// Why not.
pub fn check_name(name: &str) -> Result<(), String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = name.as_bytes();
    if bytes.iter().all(|byte| inner(*byte))
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.len() <= MAX_NAME
    {
        return Ok(());
    }
    Err(format!("`{name}` is no name: use 1 to {MAX_NAME} of a-z, 0-9 and -, with no - at either end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["a", "hello", "a-1", "0"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "a.b", "ü", &"a".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
