//! From the bytes of a pipe to lines, whatever the bytes are.

use super::Sink;
use stigmer_protocol::redact::Redactor;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A longer line is cut in pieces: a component that never ends its line must not fill our memory.
const MAX_TEXT: usize = 64 * 1024;

/// Cuts bytes into lines, whatever they are.
#[derive(Debug, Default)]
struct Cutter {
    rest: Vec<u8>,
    redactor: Redactor,
}

impl Cutter {
    /// Takes `bytes`, and gives the lines that are complete. How the bytes are divided over calls makes no difference.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let body = piece.strip_suffix(b"\n");
            self.rest.extend_from_slice(body.unwrap_or(piece));
            while self.rest.len() > MAX_TEXT {
                lines.push(self.piece());
            }
            if body.is_some() {
                if self.rest.ends_with(b"\r") {
                    self.rest.pop();
                }
                lines.push(self.take());
            }
        }
        lines
    }

    /// The beginning of a line that is too long, cut neither through a secret nor through a character.
    fn piece(&mut self) -> String {
        let window = &self.rest[..MAX_TEXT];
        let whole = self.redactor.cut(window, MAX_TEXT).unwrap_or(MAX_TEXT);
        let is_start = |at: &usize| self.rest.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
        let start = (whole.saturating_sub(3)..=whole).rev().find(is_start).unwrap_or(whole);
        let at = self.redactor.cut(window, start).unwrap_or(whole);
        let rest = self.rest.split_off(at);
        let text = self.take();
        self.rest = rest;
        text
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

/// Writes everything that comes from `pipe` to `sink`, until its end.
pub async fn pump(mut pipe: impl AsyncRead + Unpin, stream: &'static str, sink: Sink) {
    let mut cutter = Cutter { redactor: sink.redactor(), ..Cutter::default() };
    let mut buffer = vec![0_u8; 8 * 1024];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => sink.write(stream, &cutter.push(&buffer[..count])),
        }
    }
    if !cutter.rest.is_empty() {
        sink.write(stream, &[cutter.take()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stigmer_protocol::environment::Environment;
    use stigmer_protocol::token::Token;

    #[test]
    fn any_bytes_become_lines() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.push(b"a\r\nb"), ["a"]);
        assert_eq!(cutter.push(b"c\n\n"), ["bc", ""]);
        assert_eq!(cutter.push(b"\xff\xfe\n"), ["\u{fffd}\u{fffd}"]);
        let lines = cutter.push(&vec![b'x'; MAX_TEXT + 10]);
        assert_eq!((lines.len(), lines[0].len(), cutter.rest.len()), (1, MAX_TEXT, 10));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            lengths in prop::collection::vec((0_usize..200_000, any::<bool>()), 1..4),
            cuts in prop::collection::vec(1_usize..70_000, 0..12),
        ) {
            let token = Token::from("0123456789abcdef");
            let redactor = Redactor::new(&token, &Environment::default());
            let mut bytes = Vec::new();
            for (length, ended) in lengths {
                let start = bytes.len();
                while bytes.len() < start + length {
                    bytes.extend_from_slice(b"-0123456789abcdef-");
                    bytes.extend_from_slice("\u{20ac}".as_bytes());
                }
                if ended {
                    bytes.extend_from_slice(b"\r\n");
                }
            }
            let all = |chunks: Vec<&[u8]>| {
                let mut cutter = Cutter { redactor: redactor.clone(), ..Cutter::default() };
                let mut lines: Vec<String> = chunks.into_iter().flat_map(|chunk| cutter.push(chunk)).collect();
                lines.push(cutter.take());
                lines
            };
            let whole = all(vec![&bytes]);
            let mut rest = bytes.as_slice();
            let mut chunks = Vec::new();
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            prop_assert_eq!(&whole, &all(chunks));
            prop_assert_eq!(whole.concat().len(), bytes.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count());
            for line in &whole {
                prop_assert!(line.len() <= MAX_TEXT);
                prop_assert!(!line.contains(char::REPLACEMENT_CHARACTER), "a character in two pieces");
                let shown = redactor.redact(line);
                prop_assert!(!shown.contains("9a") && !shown.contains("-01"), "a token in two pieces");
            }
        }
    }
}
