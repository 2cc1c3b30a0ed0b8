//! What components say: whatever it is and however much, it is kept, bounded and shown, and harms nobody.

use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use stigmer_test_support::eventually;
use stigmer_test_support::server::{GOOD, LIMIT, Platform, component, pid, signal, text};

/// The size of everything in the directory of logs.
fn size_of_logs(platform: &Platform) -> u64 {
    let files = fs_err::read_dir(platform.home.join("logs")).expect("listed").flatten();
    files.map(|file| file.metadata().map_or(0, |meta| meta.len())).sum()
}

/// The most memory that a process had at any time, in megabytes.
fn peak_of_memory(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number")
        / 1024
}

#[test]
fn a_flood_is_bounded_and_commands_are_answered_meanwhile() {
    let platform =
        Platform::acting(&["ready", "flood=stderr:60000000:lines", "say=the flood is over", "wait"]);
    let supervisor = pid(&platform.start());
    let mut answers = 0;
    let last = ["server", "logs", "-n", "1", "--raw", "--component", "agent-runner"];
    eventually("the end of the flood", || {
        let is_over = text(&platform.run(&last)).contains("the flood is over");
        answers += u32::from(!is_over);
        // It fails if the supervisor does not answer in time.
        platform.status();
        assert!(size_of_logs(&platform) < 36 << 20, "{} bytes", size_of_logs(&platform));
        is_over.then_some(())
    });
    assert!(answers > 0, "the flood was over before anything was asked");
    assert!(peak_of_memory(supervisor) < 48, "{} MB", peak_of_memory(supervisor));
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_line_without_an_end_and_bytes_of_any_kind_are_kept() {
    let platform = Platform::acting(&[
        "ready",
        "flood=stderr:5000000:endless",
        "say=end of the line",
        "flood=stderr:540000:binary",
        "say=the end",
        "wait",
    ]);
    platform.start();
    platform.follow("agent-runner").until("the end");
    let output = platform.run(&["server", "logs", "-n", "1000000", "--json", "--component", "agent-runner"]);
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .expect("valid UTF-8, whatever was written")
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .filter(|line: &serde_json::Value| line["stream"] == "stderr")
        .collect();
    let texts: Vec<&str> = lines.iter().map(|line| line["text"].as_str().expect("text")).collect();
    let end = texts.iter().position(|text| text.ends_with("end of the line")).expect("it is there");
    let endless = texts[..=end].concat();
    assert_eq!(endless.len(), 5_000_000 + "end of the line".len());
    assert!(endless.starts_with("0123456789abcdef0123456789abcdef"));
    assert!(texts[..=end].iter().all(|text| text.len() <= 64 * 1024));
    // A line has 30 bytes, and each 64 KiB begin with a new one.
    let lines = (540_000 / 65_536) * (65_536 / 30) + (540_000 % 65_536) / 30;
    assert_eq!(texts.len() - end - 2, lines, "every line");
    // Whoever reads JSON gets what was written, also what would do something to a terminal.
    assert!(texts[end + 1].starts_with("\0\u{1}\u{1b}[31m\u{1b}]0;title\u{7}"), "{:?}", texts[end + 1]);
    platform.stop();
    platform.assert_clean();
}

/// `server logs -f` of the agent-runner, and the lines it prints. They are read until the receiver is gone.
fn following(platform: &Platform) -> (Child, Receiver<String>) {
    let words = ["server", "logs", "-f", "--component", "agent-runner"];
    let mut child = platform.command(&words).stdout(Stdio::piped()).spawn().expect("stigmer runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// Waits until a line contains `words`.
fn until(lines: &Receiver<String>, words: &str) {
    while !lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("never: {words}")).contains(words) {}
}

#[test]
fn who_follows_sees_everything_from_before_the_first_start_on() {
    let platform = Platform::new(GOOD);
    let (mut child, lines) = following(&platform);
    platform.start();
    until(&lines, "agent says hello");
    platform.stop();
    until(&lines, "ended: ");
    let status = platform.start();
    until(&lines, "agent says hello");
    // The logs are removed while they are written and read.
    fs_err::remove_dir_all(platform.home.join("logs")).expect("removed");
    signal(pid(component(&status, "agent-runner")), Signal::KILL);
    until(&lines, "ended: signal 9");
    until(&lines, "agent says hello");
    signal(child.id(), Signal::INT);
    let status = child.wait().expect("ends");
    assert_eq!(status.signal(), Some(2), "a shell makes 130 of it");
    platform.stop();
    platform.assert_clean();
}

#[test]
fn who_follows_for_a_reader_that_is_gone_ends_also_if_nothing_more_is_said() {
    let platform = Platform::new(GOOD);
    platform.start();
    let words = ["server", "logs", "-f", "--component", "agent-runner"];
    let mut child = platform.command(&words).stdout(Stdio::piped()).spawn().expect("stigmer runs");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    output.read_line(&mut String::new()).expect("read");
    drop(output);
    if let Some(started) = stigmer::platform::process_started(child.id())
        && !stigmer::platform::wait_for_end(child.id(), started, LIMIT)
    {
        child.kill().expect("killed");
        panic!("it waits for ever");
    }
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    platform.stop();
    platform.assert_clean();
}

#[test]
fn what_is_shown_can_be_chosen() {
    let platform = Platform::new(GOOD);
    let logs = platform.home.join("logs");
    fs_err::create_dir_all(&logs).expect("made");
    for (name, seconds) in [("supervisor", [1, 4]), ("agent-runner", [2, 5]), ("stigmer-server", [3, 6])] {
        let line = |second| {
            format!(
                "{{\"time\":\"2026-01-31T08:00:0{second}.000Z\",\"component\":\"{name}\",\"stream\":\"stderr\",\"text\":\"{second}\"}}\n"
            )
        };
        fs_err::write(logs.join(format!("{name}.log.1")), line(seconds[0])).expect("written");
        fs_err::write(logs.join(format!("{name}.log")), line(seconds[1])).expect("written");
    }
    let shown = |words: &[&str]| {
        let output = platform.run(&[&["server", "logs", "--raw"], words].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        String::from_utf8(output.stdout).expect("text").lines().collect::<Vec<_>>().concat()
    };
    assert_eq!(shown(&[]), "123456");
    assert_eq!(shown(&["--all", "-n", "2"]), "56");
    assert_eq!(shown(&["--component", "agent-runner", "--component", "supervisor"]), "1245");
    assert_eq!(shown(&["--since", "2026-01-31T08:00:03Z"]), "3456");
    assert_eq!(shown(&["--since", "2026-01-31T09:00:03+01:00", "--lines", "2"]), "56");
    assert_eq!(shown(&["--since", "2026-01-31"]), "123456");
    assert_eq!(shown(&["--since", "10m"]), "");
    let columns = text(&platform.run(&["server", "logs", "-n", "1"]));
    assert!(columns.contains("2026-01-31T08:00:06.000Z  stigmer-server | 6\n"), "{columns}");
    let late = platform.run(&["server", "logs", "--since", "10m"]);
    assert!(text(&late).contains("nothing was said since then"), "{}", text(&late));
}
