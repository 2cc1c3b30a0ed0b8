//! The reader of what people write, for `fuzz/` and for its small brother in `cargo test`: files come from anywhere.

use super::{read, to_yaml};

/// A file of resources. What is accepted and written again is accepted again, and means the same.
///
/// # Panics
/// If it is not.
pub fn resources(data: &[u8]) {
    let Ok(written) = read(&String::from_utf8_lossy(data)) else {
        return;
    };
    for one in written {
        let text = serde_json::to_value(&one.resource).map(|value| to_yaml(&value)).unwrap_or_default();
        let again = read(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?} in {text:?}"));
        assert_eq!(again.len(), 1, "{text}");
        assert_eq!(again[0].resource, one.resource, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What YAML is made of, and what resources are made of.
    const PIECES: [&str; 34] = [
        "apiVersion: stigmer.ai/v1\n",
        "kind: Agent\n",
        "kind: Workflow\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  instructions: ",
        "document: {dsl: 1.0.0, namespace: n, name: f, version: 1.0.0}\n",
        "do:\n",
        "- one: {set: {a: 1}}\n",
        "---\n",
        "...\n",
        "\n",
        " ",
        "  ",
        "\t",
        "- ",
        "? ",
        ": ",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "\\",
        "# x",
    ];

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(pieces in prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..40)) {
            resources(pieces.concat().as_bytes());
        }

        #[test]
        fn bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            resources(&bytes);
        }
    }
}
