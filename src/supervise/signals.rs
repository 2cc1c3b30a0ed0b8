//! What a system sends to a process that is to end, under one name.

/// What the system may send to say that it is time to go.
pub(super) struct Signals {
    #[cfg(unix)]
    kinds: [(&'static str, tokio::signal::unix::Signal); 3],
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            kinds: [
                ("SIGTERM", signal(SignalKind::terminate())?),
                ("SIGINT", signal(SignalKind::interrupt())?),
                ("SIGHUP", signal(SignalKind::hangup())?),
            ],
        })
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> &'static str {
        let [(term, terminate), (int, interrupt), (hup, hangup)] = &mut self.kinds;
        tokio::select! {
            _ = terminate.recv() => term,
            _ = interrupt.recv() => int,
            _ = hangup.recv() => hup,
        }
    }

    #[cfg(windows)]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(windows)]
    pub(super) async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
