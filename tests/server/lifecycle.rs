//! `stigmer server` from start to stop, with real processes.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use stigmer_test_support::server::{GOOD, Platform, ask, component, json, pid, text};

#[test]
fn it_starts_says_what_runs_and_stops() {
    let platform = Platform::new(GOOD);
    let down = platform.run(&["server", "status"]);
    assert_eq!(down.status.code(), Some(3), "{}", text(&down));

    let output = platform.try_start(&[]);
    assert!(output.status.success(), "{}", text(&output));
    let words = text(&output);
    for expected in ["stigmer-server ready (127.0.0.1:", "workflow-runner ready", "agent-runner ready"] {
        assert!(words.contains(expected), "{words}");
    }
    let status = platform.status();
    assert_eq!(status["ready"], true);
    for name in ["stigmer-server", "workflow-runner", "agent-runner"] {
        let one = component(&status, name);
        assert_eq!(one["phase"], "ready");
        assert_eq!(one["restarts"], 0);
        assert!(one["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
        assert!(stigmer::platform::process_started(pid(one)).is_some());
    }
    assert_eq!(component(&status, "agent-runner")["version"], "9.9.9");
    let table = platform.run(&["server", "status"]);
    assert!(text(&table).contains("stigmer is up at http://127.0.0.1:"), "{}", text(&table));

    platform.stop();
    platform.assert_clean();
    assert!(!platform.home.join("run/server.json").exists());
    let again = platform.run(&["server", "stop"]);
    assert!(again.status.success() && text(&again).contains("nothing runs"), "{}", text(&again));
    let after = platform.run(&["server", "status", "--json"]);
    assert_eq!(after.status.code(), Some(3));
    assert_eq!(json(&after)["crashed"], false);
}

#[test]
fn the_token_is_told_to_nobody() {
    let platform = Platform::new(
        "read -r config\necho \"$#: $*\" >&2\nenv >&2\nprintf '{\"event\":\"ready\",\"version\":\"1\",\"pid\":%s}\\n' $$\nexec cat",
    );
    let status = platform.start();
    let token = platform.token();
    for pid in platform.processes() {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(&token), "{file} of {pid}");
        }
    }
    assert!(!status.to_string().contains(&token));
    platform.stop();
    for log in fs_err::read_dir(platform.home.join("logs")).expect("listed").flatten() {
        let said = fs_err::read_to_string(log.path()).expect("read");
        assert!(!said.contains(&token), "{}", log.path().display());
    }
    platform.assert_clean();
}

#[test]
fn a_second_start_changes_nothing_and_says_what_differs() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    let second = platform.start();
    assert_eq!(second["already_running"], true);
    assert_eq!(second["instance"], first["instance"]);
    for name in ["stigmer-server", "workflow-runner", "agent-runner"] {
        assert_eq!(component(&second, name)["pid"], component(&first, name)["pid"]);
    }
    assert_eq!(second["differences"], serde_json::json!([]));

    let other = platform.run(&["server", "--port", "9", "--use-local-binary", "/bin/true"]);
    let words = text(&other);
    assert!(other.status.success(), "{words}");
    assert!(words.contains("not on 9"), "{words}");
    assert!(words.contains("not `/bin/true`"), "{words}");
    assert!(words.contains("`stigmer server restart`"), "{words}");
    assert_eq!(platform.status()["instance"], first["instance"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn of_many_starts_at_once_one_starts() {
    let platform = Platform::new(GOOD);
    let words = platform.start_words(&["--json"]);
    let launchers: Vec<_> = (0..20)
        .map(|_| {
            let mut command = platform.command(&words);
            command.stdout(std::process::Stdio::piped()).spawn().expect("stigmer runs")
        })
        .collect();
    let mut instances = Vec::new();
    let mut started = 0;
    for launcher in launchers {
        let output = launcher.wait_with_output().expect("ends");
        assert!(output.status.success(), "{}", text(&output));
        let report = json(&output);
        started += usize::from(report["already_running"] == false);
        instances.push(report["instance"].clone());
    }
    instances.dedup();
    assert_eq!((started, instances.len()), (1, 1));
    assert_eq!(platform.processes().len(), 5);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn restart_keeps_the_settings() {
    let platform = Platform::new(GOOD);
    let first = platform.start();
    let output = platform.run(&["server", "restart", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let second = json(&output);
    assert_ne!(second["instance"], first["instance"]);
    assert_eq!(second["url"], first["url"]);
    assert_eq!(second["local_binary"], first["local_binary"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn only_who_has_the_token_is_served() {
    let platform = Platform::new(GOOD);
    let status = platform.start();
    let url = status["url"].as_str().expect("a url");
    assert_eq!(ask(url, "/healthz", None).0, 200);
    for path in ["/v1/status", "/v1/workers", "/nothing"] {
        assert_eq!(ask(url, path, None).0, 401, "{path}");
        assert_eq!(ask(url, path, Some("guess")).0, 401, "{path}");
    }
    let (code, answer) = ask(url, "/v1/status", Some(&platform.token()));
    assert_eq!(code, 200);
    assert_eq!(answer["instance"], status["instance"]);
    assert_eq!(answer["workers"][0]["kind"], "workflow-runner");
    assert_eq!(answer["workers"][0]["state"], "idle");
    assert_eq!(answer["workers"][0]["pid"], component(&status, "workflow-runner")["pid"]);
    platform.stop();
    platform.assert_clean();
}

#[test]
fn nothing_listens_beyond_the_loopback() {
    let platform = Platform::new(GOOD);
    platform.start();
    let mut listening = 0;
    for pid in platform.processes() {
        let sockets: Vec<String> = fs_err::read_dir(format!("/proc/{pid}/fd"))
            .expect("listed")
            .flatten()
            .filter_map(|fd| Some(std::fs::read_link(fd.path()).ok()?.to_str()?.to_owned()))
            .collect();
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let rows = fs_err::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            for row in rows.lines().skip(1) {
                let fields: Vec<&str> = row.split_whitespace().collect();
                let ours = sockets.contains(&format!("socket:[{}]", fields[9]));
                if ours && (fields[3] == "0A" || table.starts_with("udp")) {
                    listening += 1;
                    assert!(fields[1].starts_with("0100007F:"), "{row}");
                }
            }
        }
    }
    assert_eq!(listening, 2, "the server and the control socket");
    platform.stop();
    platform.assert_clean();
}

#[test]
fn an_occupied_port_is_explained() {
    let platform = Platform::new(GOOD);
    let stranger = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = stranger.local_addr().expect("an address").port().to_string();
    let output = platform.try_start(&["--port", &port]);
    let words = text(&output);
    assert_eq!(output.status.code(), Some(75), "{words}");
    assert!(words.contains(&format!("port {port} is in use")), "{words}");
    assert!(words.contains(&format!("process {}", std::process::id())), "{words}");
    assert!(words.contains("--port"), "{words}");
    platform.assert_clean();
    drop(stranger);

    let status = platform.start();
    let taken = component(&status, "stigmer-server")["address"]
        .as_str()
        .and_then(|address| address.rsplit(':').next())
        .expect("a port");
    let other = Platform::new(GOOD);
    let output = other.try_start(&["--port", taken]);
    let words = text(&output);
    assert_eq!(output.status.code(), Some(75), "{words}");
    let home = platform.home.display().to_string();
    assert!(words.contains(&format!("the stigmer server of `{home}`")), "{words}");
    other.assert_clean();
    platform.stop();
    platform.assert_clean();
}

#[test]
fn the_end_of_the_terminal_is_not_its_end() {
    let platform = Platform::new(GOOD);
    let words = platform.start_words(&[]);
    let mut launcher = platform.command(&words);
    launcher.process_group(0).stdout(std::process::Stdio::null());
    let mut launcher = launcher.spawn().expect("stigmer runs");
    let group = i32::try_from(launcher.id()).expect("fits");
    assert!(launcher.wait().expect("ends").success());
    // What a closed terminal does: it hangs up the group it ran in.
    let group = rustix::process::Pid::from_raw(group).expect("not 0");
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::HUP);
    let status = platform.status();
    assert_eq!(status["ready"], true);
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", status["pid"])).expect("lives");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    assert_eq!(fields[3], status["pid"].to_string(), "a session of its own");
    assert_eq!(fields[4], "0", "no terminal");
    platform.stop();
    platform.assert_clean();
}

#[test]
fn any_home_will_do() {
    let long = format!("{}/{}", "l".repeat(100), "o".repeat(100));
    for name in ["with spaces and ümläuts 家", &long] {
        let platform = Platform::with_home(name, GOOD);
        assert_eq!(platform.start()["already_running"], false);
        assert_eq!(platform.status()["ready"], true);
        platform.stop();
        platform.assert_clean();
    }
}

#[test]
fn logs_are_merged_limited_and_chosen() {
    let platform = Platform::new(
        "read -r config\nprintf '\\377\\376 half a line' >&2\nprintf '{\"event\":\"ready\",\"version\":\"1\",\"pid\":%s}\\n' $$\nexec cat",
    );
    assert!(text(&platform.run(&["server", "logs"])).contains("no logs yet"));
    platform.start();
    platform.stop();
    let all = platform.run(&["server", "logs", "--json"]);
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&all.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect();
    assert!(lines.is_sorted_by_key(|line| line["time"].as_str().map(str::to_owned)));
    let agents: Vec<_> = lines.iter().filter(|line| line["component"] == "agent-runner").collect();
    assert!(agents.iter().any(|line| line["text"].as_str().is_some_and(|t| t.ends_with("half a line"))));
    let two = platform.run(&["server", "logs", "-n", "2", "--component", "stigmer-server"]);
    assert_eq!(String::from_utf8_lossy(&two.stdout).lines().count(), 2);
    platform.assert_clean();
}
