//! JSON pointers (RFC 6901): where in a value something is.

use std::borrow::Cow;

/// Escapes a key for use as one part of a pointer: `~` becomes `~0` and `/` becomes `~1` (RFC 6901, section 3).
pub(crate) fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) {
        Cow::Owned(key.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn only_the_two_characters_with_a_meaning_are_replaced() {
        assert_eq!(escape("a/b~c"), "a~1b~0c");
        assert_eq!(escape("~1"), "~01");
        assert_eq!(escape("plain"), "plain");
    }
}
