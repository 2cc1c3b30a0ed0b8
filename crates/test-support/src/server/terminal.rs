//! A terminal of its own for a test, as a person has one.

use super::LIMIT;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

/// A terminal with a program in its foreground; dropped, it is closed.
pub struct Terminal {
    master: Option<std::fs::File>,
    lines: mpsc::Receiver<String>,
    close: Option<std::io::PipeWriter>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    /// Starts the command in the foreground of a new terminal.
    pub fn open(command: &Command) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
        let master = std::fs::File::from(master);
        // `setsid -c` makes it the terminal of a new session, as a terminal program does.
        let mut shell = Command::new("setsid");
        shell.args(["-c", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            shell.env(key, value.expect("set"));
        }
        // What moves is drawn only on a terminal that says what it is.
        shell.env("TERM", "xterm");
        let side = || std::fs::OpenOptions::new().read(true).write(true).open(&name).expect("the other side");
        let mut child = shell.stdin(side()).stdout(side()).stderr(side()).spawn().expect("setsid runs");
        drop(shell);
        std::thread::spawn(move || child.wait());
        let (sender, lines) = mpsc::channel();
        let (closed, close) = std::io::pipe().expect("a pipe");
        let other = master.try_clone().expect("another");
        let reader = std::thread::spawn(move || read_terminal(other, &closed, &sender));
        Self { master: Some(master), lines, close: Some(close), reader: Some(reader) }
    }

    /// Everything that is shown, until `words` are among it.
    pub fn until(&mut self, words: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut said = String::new();
        while !said.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let piece = self.lines.recv_timeout(left);
            said.push_str(&piece.unwrap_or_else(|_| panic!("no `{words}` in:\n{said}")));
        }
        said
    }

    /// Types one byte.
    pub fn press(&mut self, key: u8) {
        use std::io::Write;
        self.master.as_mut().expect("open").write_all(&[key]).expect("pressed");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal is closed when nobody holds its master any more.
        drop(self.close.take());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        drop(self.master.take());
    }
}

/// Reads what is shown, until the other end of `closed` is gone.
fn read_terminal(mut terminal: std::fs::File, closed: &std::io::PipeReader, shown: &mpsc::Sender<String>) {
    use rustix::event::{PollFd, PollFlags, poll};
    use std::io::Read;
    loop {
        let mut fds = [PollFd::new(&terminal, PollFlags::IN), PollFd::new(closed, PollFlags::IN)];
        if poll(&mut fds, None).is_err() || !fds[1].revents().is_empty() {
            return;
        }
        let mut bytes = [0_u8; 4096];
        match terminal.read(&mut bytes) {
            Ok(count) if count > 0 => {
                let _ = shown.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
            _ => return,
        }
    }
}
