//! The question itself: one request over HTTP/1.0, whose answer ends with the connection.
//!
//! Small enough that a client library would be larger than what it saves, and it keeps no connection that would have to be
//! looked after. The answer has a limit, and what is no answer is a silence.

use super::Worker;
use std::io;
use std::net::SocketAddr;
use stigmer_protocol::api::status::{ServerStatus, WorkerState, WorkerStatus};
use stigmer_protocol::token::Token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A longer answer is none: a thousand workers need a quarter of it.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Asks the server at `address` who works for it; waits at most [`super::PROBE_TIMEOUT`].
pub(in crate::supervise) async fn ask(address: SocketAddr, token: Token) -> Option<Vec<Worker>> {
    tokio::time::timeout(super::PROBE_TIMEOUT, exchange(address, &token)).await.ok()?.ok()
}

async fn exchange(address: SocketAddr, token: &Token) -> io::Result<Vec<Worker>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /v1/status HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
        token.reveal()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The workers in an answer; `None` if it is none, or another one than 200.
fn parse(answer: &[u8]) -> Option<Vec<Worker>> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut status = head.lines().next()?.split(' ');
    if !status.next()?.starts_with("HTTP/1.") || status.next()? != "200" {
        return None;
    }
    let body: ServerStatus = serde_json::from_slice(&answer[end + 4..]).ok()?;
    let worker = |worker: WorkerStatus| Worker {
        kind: worker.kind,
        pid: worker.pid,
        stale: worker.state == WorkerState::Stale,
    };
    Some(body.workers.into_iter().map(worker).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// With a key that a later server may add.
    const BODY: &str = r#"{"version":"1","instance":"i","since":"2026-01-02T03:04:05.678Z","workers":
        [{"id":"w-1","kind":"k","version":"1","pid":7,"state":"stale","heartbeat_age_ms":9,"more":1}]}"#;

    #[test]
    fn an_answer_is_understood_and_anything_else_is_none() {
        let worker = Worker { kind: "k".to_owned(), pid: 7, stale: true };
        let good = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{BODY}");
        assert_eq!(parse(good.as_bytes()), Some(vec![worker]));
        for length in 0..good.len() {
            assert_eq!(parse(&good.as_bytes()[..length]), None, "{length}");
        }
        for bad in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 401 Unauthorized\r\n\r\n{\"workers\":[]}",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "SSH-2.0 200 OK\r\n\r\n{\"workers\":[]}",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    /// Answers one request with `answer`, and keeps the connection if `hold`.
    async fn asked(answer: Vec<u8>, hold: bool) -> Option<Vec<Worker>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("asked");
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.expect("read");
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let _ = stream.write_all(&answer).await;
            if hold {
                std::future::pending::<()>().await;
            }
            request
        });
        let workers = ask(address, Token::from("the secret of this installation")).await;
        if !hold {
            let request = server.await.expect("answered");
            assert!(request.contains("Authorization: Bearer the secret of"), "{request}");
        }
        workers
    }

    #[tokio::test]
    async fn an_answer_is_heard() {
        let answer = format!("HTTP/1.0 200 OK\r\n\r\n{BODY}").into_bytes();
        assert_eq!(asked(answer, false).await.map(|workers| workers.len()), Some(1));
    }

    #[tokio::test]
    async fn who_does_not_come_to_an_end_is_silent() {
        let answer = format!("HTTP/1.0 200 OK\r\n\r\n{BODY}").into_bytes();
        assert_eq!(asked(answer, true).await, None);
        assert_eq!(asked(Vec::new(), true).await, None);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_none() {
        let mut answer = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
        answer.resize(usize::try_from(MAX_ANSWER_BYTES).expect("fits") + 1000, b' ');
        assert_eq!(asked(answer, false).await, None);
    }

    #[tokio::test]
    async fn nobody_there_is_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        assert_eq!(ask(address, Token::from("t")).await, None);
    }
}
