//! Takes secrets out of what components say, before it is kept or shown to anybody.
//!
//! A component may print its keys, in a traceback or a debug log; it is not to be trusted with not doing so. This
//! finds the values literally: what a component writes in another encoding is not recognized.

use crate::environment::Environment;
use crate::token::Token;
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A shorter value is not looked for: it would be found in half of all words, and it protects nothing.
const SHORTEST: usize = 8;

/// A longer one would have to be held back when a line is cut; no variable is that long.
const LONGEST: usize = 16 * 1024;

/// What to look for. Cheap to clone; its debug form hides the values.
#[derive(Clone, Default)]
pub struct Redactor(Arc<[Hidden]>);

struct Hidden {
    name: String,
    finder: Finder<'static>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|hidden| &hidden.name)).finish()
    }
}

impl Redactor {
    /// Hides the token of the installation and what is secret in `environment`.
    pub fn new(token: &Token, environment: &Environment) -> Self {
        let mut secrets = environment.secrets();
        secrets.push(("token", token.reveal()));
        Self::of(&secrets)
    }

    fn of(secrets: &[(&str, &str)]) -> Self {
        let mut hidden = Vec::new();
        for (name, value) in secrets.iter().filter(|(_, value)| value.len() >= SHORTEST) {
            // Inside of JSON, which is how many programs log, a value may look different.
            let escaped = serde_json::to_string(value).unwrap_or_default();
            let escaped = escaped.get(1..escaped.len().saturating_sub(1)).unwrap_or_default();
            hidden.push(Hidden { name: (*name).to_owned(), finder: Finder::new(*value).into_owned() });
            if escaped != *value && (SHORTEST..=LONGEST).contains(&escaped.len()) {
                hidden.push(Hidden { name: (*name).to_owned(), finder: Finder::new(escaped).into_owned() });
            }
        }
        Self(hidden.into())
    }

    /// `text` with `[redacted NAME]` in the place of every secret.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let spans = self.spans(text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut clean = String::with_capacity(text.len());
        let mut at = 0;
        for (span, name) in spans {
            clean.push_str(&text[at..span.start]);
            clean.push_str("[redacted ");
            clean.push_str(name);
            clean.push(']');
            at = span.end;
        }
        clean.push_str(&text[at..]);
        Cow::Owned(clean)
    }

    /// Where `bytes`, which go on, can be cut at about `at` so that no secret is cut in two: not inside of one, and not so late that
    /// one could have begun whose end has not come yet. That is `None` if there is no such place after the beginning.
    pub fn cut(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let longest = self.0.iter().map(|hidden| hidden.finder.needle().len()).max().unwrap_or(0);
        let at = at.min(bytes.len().saturating_sub(longest.saturating_sub(1)));
        let inside = self.spans(bytes).into_iter().find(|(span, _)| span.start < at && at < span.end);
        Some(inside.map_or(at, |(span, _)| span.end)).filter(|at| *at > 0)
    }

    /// Where secrets are, in order; those that overlap are one, under the name of the first.
    fn spans(&self, bytes: &[u8]) -> Vec<(Range<usize>, &str)> {
        let mut found: Vec<(Range<usize>, &str)> = Vec::new();
        for hidden in self.0.iter() {
            let mut from = 0;
            // From the next byte on, because a value may overlap with itself.
            while let Some(start) = bytes.get(from..).and_then(|rest| hidden.finder.find(rest)) {
                let start = from + start;
                found.push((start..start + hidden.finder.needle().len(), &hidden.name));
                from = start + 1;
            }
        }
        found.sort_by_key(|(span, _)| span.start);
        found.dedup_by(|next, last| {
            let overlaps = next.0.start < last.0.end;
            if overlaps {
                last.0.end = last.0.end.max(next.0.end);
            }
            overlaps
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_secret_is_replaced_by_its_name() {
        let redactor = Redactor::of(&[("A", "secret-aaa"), ("B", "secret\"b\""), ("C", "short"), ("D", "")]);
        let clean = redactor.redact("x secret-aaasecret-aaa {\"v\":\"secret\\\"b\\\"\"} short");
        assert_eq!(clean, "x [redacted A][redacted A] {\"v\":\"[redacted B]\"} short");
        assert!(matches!(redactor.redact("nothing here"), Cow::Borrowed(_)));
        assert!(!format!("{redactor:?}").contains("secret-"));
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_either() {
        let redactor = Redactor::of(&[("A", "abcdefgh"), ("B", "efghijkl"), ("C", "aaaaaaaa")]);
        assert_eq!(redactor.redact("-abcdefghijkl-"), "-[redacted A]-");
        assert_eq!(redactor.redact("aaaaaaaaaaaa"), "[redacted C]");
    }

    proptest! {
        /// However a text is cut, the pieces, redacted one by one, show no secret, and neither do they when put together again.
        #[test]
        fn a_cut_never_splits_a_secret(
            words in prop::collection::vec(prop::sample::select(vec!["ab", "abababab", "abcabcabc", "x", "é", "bcabcab"]), 1..60),
            at in 10_usize..40,
        ) {
            let secrets = [("A", "abababab"), ("B", "abcabcabc")];
            let redactor = Redactor::of(&secrets);
            let text = words.concat();
            let (mut rest, mut whole) = (text.as_bytes(), String::new());
            while rest.len() > at {
                let Some(cut) = redactor.cut(&rest[..at], at) else { break };
                whole.push_str(&redactor.redact(&String::from_utf8_lossy(&rest[..cut])));
                rest = &rest[cut..];
            }
            whole.push_str(&redactor.redact(&String::from_utf8_lossy(rest)));
            for (_, value) in secrets {
                prop_assert!(!whole.contains(value), "{}", whole);
            }
        }
    }
}
