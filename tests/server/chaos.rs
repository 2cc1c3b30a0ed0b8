//! `stigmer server` while processes of it are killed, suspended and woken at random, and commands come at any moment.
//!
//! In a namespace where every process but the test is the platform's, so nothing that is left can hide. `STIGMER_SEED=N` plays one
//! game again, as far as the machine lets it; `STIGMER_SOAK=1` plays for minutes.
#![expect(clippy::print_stderr, reason = "a lost game says how it was played")]

use rustix::process::Signal;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::Duration;
use stigmer_test_support::namespace::{PROCESSES, inside};
use stigmer_test_support::server::leaks::Process;
use stigmer_test_support::server::{Platform, pid, signal, text};
use stigmer_test_support::{eventually, test_name};

const ESCAPES: &str = "spawn=session+double+deaf";

/// What the agent runner is like, from its next start on.
const AGENTS: [&[&str]; 5] = [
    &[ESCAPES, "spawn=deaf", "ready", "wait"],
    &["ready", "wait"],
    &["deaf", "ready", "hang"],
    &["spawn=session+chain", "ready", "pause=200", "exit=3"],
    &[ESCAPES, "hang"],
];

/// Chance that can be had again (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("small")
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// One game: what happened so far is said if it is lost.
struct Game {
    platform: Platform,
    chance: Chance,
    seed: u64,
    commands: Vec<(String, Child)>,
    history: Vec<String>,
}

impl Game {
    fn new(seed: u64) -> Self {
        let platform =
            Platform::acting(AGENTS[0]).config("[server]\nstart_timeout = \"5s\"\nstop_timeout = \"1s\"\n");
        Self { platform, chance: Chance(seed), seed, commands: Vec::new(), history: Vec::new() }
    }

    /// Every process of the platform, and of the commands.
    fn everybody() -> Vec<u32> {
        Process::all().into_keys().filter(|pid| *pid != std::process::id()).collect()
    }

    fn command(&mut self, words: &[&str]) {
        self.history.push(words[1..2].join(" "));
        let mut command = self.platform.command(words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("stigmer runs");
        self.commands.push((words[1].to_owned(), child));
    }

    fn start(&mut self) {
        let agent = self.platform.agent.display().to_string();
        self.command(&["server", "start", "--port", "0", "--use-local-binary", &agent]);
    }

    fn round(&mut self) {
        match self.chance.below(12) {
            0 | 1 => self.start(),
            2 => self.command(&["server", "stop"]),
            3 => self.command(&["server", "restart"]),
            4 => self.command(&["server", "logs", "-n", "5"]),
            5 => {
                let agent = self.chance.below(AGENTS.len());
                self.history.push(format!("agent {agent}"));
                self.platform.act(AGENTS[agent]);
            }
            _ => {
                let everybody = Self::everybody();
                if !everybody.is_empty() {
                    let victim = self.chance.of(&everybody);
                    let what = self.chance.of(&[
                        Signal::KILL,
                        Signal::KILL,
                        Signal::STOP,
                        Signal::CONT,
                        Signal::CONT,
                        Signal::TERM,
                    ]);
                    let words =
                        std::fs::read_to_string(format!("/proc/{victim}/cmdline")).unwrap_or_default();
                    let role =
                        words.split('\0').find(|word| word.starts_with("internal-")).unwrap_or("other");
                    self.history.push(format!("{what:?} {role} {victim}"));
                    signal(victim, what);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(self.chance.below(120) as u64));
    }

    /// Wakes everybody, hears what all commands had to say, and looks whether the platform is what it says it is.
    fn settle(&mut self) {
        self.history.push("settle".to_owned());
        let mut commands = std::mem::take(&mut self.commands);
        eventually("all commands come to an end", || {
            for pid in Self::everybody() {
                signal(pid, Signal::CONT);
            }
            commands.iter_mut().all(|(_, child)| child.try_wait().expect("asked").is_some()).then_some(())
        });
        for (words, child) in commands {
            let said = text(&child.wait_with_output().expect("ended"));
            assert!(!said.contains("panicked"), "{words}: {said}");
        }
        eventually("nobody who is called ready is dead, and nobody runs twice", || {
            let output = self.platform.run(&["server", "status", "--json"]);
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 3)), "{}", text(&output));
            (code == Some(3) || is_true(&stigmer_test_support::server::json(&output))).then_some(())
        });
    }

    /// The end of everything, by request or by force; then nothing may be left.
    fn end(&mut self) {
        let status = self.platform.run(&["server", "status", "--json"]);
        if status.status.success() && self.chance.below(2) == 0 {
            self.history.push("kill the supervisor".to_owned());
            signal(pid(&stigmer_test_support::server::json(&status)), Signal::KILL);
            Self::nobody_within(Duration::from_secs(2));
        }
        self.history.push("stop at the end".to_owned());
        let output = self.platform.run(&["server", "stop"]);
        assert!(output.status.success(), "{}", text(&output));
        Self::nobody_within(Duration::ZERO);
        self.platform.assert_clean();
    }

    #[track_caller]
    fn nobody_within(limit: Duration) {
        let deadline = std::time::Instant::now() + limit;
        let mut left = Self::everybody();
        while !left.is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            left = Self::everybody();
        }
        let words: Vec<String> = left
            .iter()
            .map(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                format!("{} {}", words.replace('\0', " "), stat.chars().take(80).collect::<String>())
            })
            .collect();
        assert!(left.is_empty(), "still there after {limit:?}: {words:#?}");
    }
}

/// Whether what the status says is so.
fn is_true(status: &Value) -> bool {
    let components = status["components"].as_array().expect("components");
    let ready_live = components
        .iter()
        .filter(|component| component["phase"] == "ready")
        .all(|component| stigmer::platform::process_started(pid(component)).is_some());
    let mut roles: Vec<String> = Process::all()
        .into_keys()
        .filter_map(|pid| {
            let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            words.split('\0').find(|word| word.starts_with("internal-")).map(str::to_owned)
        })
        .collect();
    let all = roles.len();
    roles.sort();
    roles.dedup();
    ready_live && roles.len() == all
}

impl Drop for Game {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.history.len().saturating_sub(60);
            let file = |name: &str| {
                let text = std::fs::read_to_string(self.platform.home.join("logs").join(name));
                let text = text.unwrap_or_default();
                text.lines().rev().take(15).map(str::to_owned).collect::<Vec<_>>()
            };
            let said = [file("supervisor.log"), file("agent-runner.log")];
            let history = &self.history[last..];
            eprintln!("STIGMER_SEED={}\n{history:#?}\nlogs, newest first: {said:#?}", self.seed);
        }
        for (_, mut child) in self.commands.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn whatever_happens_nothing_is_left_and_the_status_is_true() {
    if !inside(PROCESSES, test_name!()) {
        return;
    }
    let seed = match std::env::var("STIGMER_SEED") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => u64::from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos()),
    };
    let games = if std::env::var_os("STIGMER_SOAK").is_some() { 200 } else { 3 };
    for game in 0..games {
        let mut game = Game::new(seed + game);
        game.start();
        for _ in 0..20 {
            game.round();
        }
        game.settle();
        for _ in 0..10 {
            game.round();
        }
        game.settle();
        game.end();
    }
}
