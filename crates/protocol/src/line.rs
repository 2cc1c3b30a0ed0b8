//! JSON values as lines, in the pipes and sockets between the processes.

use serde::Serialize;
use std::io::{self, BufRead, Read, Write};

/// Maximum length of a line, its end included, in bytes.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// `value` as one line that [`read_line`] will read.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`]: it is longer than [`MAX_LINE_BYTES`].
pub fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    if line.len() as u64 >= MAX_LINE_BYTES {
        let words =
            format!("a line of {} bytes is too long to be passed on: at most {MAX_LINE_BYTES}", line.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    Ok(line)
}

/// Writes `value` as one line, at once: the other side waits for it.
pub fn write_line(mut to: impl Write, value: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(value)?)?;
    to.flush()
}

/// Reads one line of at most [`MAX_LINE_BYTES`] bytes.
pub fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    let count = input.take(MAX_LINE_BYTES).read_line(&mut line)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with('\n') && count as u64 == MAX_LINE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_line_is_refused() {
        let long = vec![b'x'; 100_000];
        assert!(read_line(&mut long.as_slice()).is_err());
        assert!(read_line(&mut b"".as_slice()).is_err());
    }

    #[test]
    fn what_would_be_refused_is_not_written() {
        let mut count = 0;
        for length in 65_500..65_560 {
            let mut written = Vec::new();
            if write_line(&mut written, &"x".repeat(length)).is_ok() {
                count += 1;
                assert_eq!(read_line(&mut written.as_slice()).expect("it was written").len(), length + 3);
            }
        }
        assert!((1..60).contains(&count), "the limit lies elsewhere: {count}");
    }
}
