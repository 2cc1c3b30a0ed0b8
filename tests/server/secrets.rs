//! Who learns the keys of model providers: the agent-runner, and nobody else; and that nobody can lose them for it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use stigmer_test_support::server::{GOOD, Platform, component, json, pid, text};

/// Nothing else of this machine looks like these.
const KEY: &str = "sk-test-4711-0815-abcdef";
const PROXY: &str = "http://someone:pass-word-4711@127.0.0.1:9/";
const MORE: &str = "more-of-the-same-4711";

/// Shows everything it knows, in every way it has: environment, arguments, config; the key whole, in two pieces, in its
/// version and in the first words on its standard output. What it was told is kept where the test can look.
fn chatterbox() -> String {
    format!(
        r#"read -r config
printf '%s' "$config" > told.json
env >&2
echo "$0 $*" >&2
printf '%s\n' "$config" >&2
echo 'my key is {KEY}, not {MORE}' >&2
printf 'in pieces: %s' '{}' >&2
sleep 0.2
printf '%s\n' '{}' >&2
printf '{{"event":"ready","version":"1 {KEY}","pid":%s}}\n' $$
echo 'out: {KEY}'
exec cat >/dev/null"#,
        &KEY[..9],
        &KEY[9..]
    )
}

fn with_keys(platform: &Platform, args: &[&str]) -> Output {
    command_with_keys(platform, args).output().expect("stigmer runs")
}

fn command_with_keys(platform: &Platform, args: &[&str]) -> Command {
    let mut command = platform.command(args);
    command
        .env("ANTHROPIC_API_KEY", KEY)
        .env("HTTPS_PROXY", PROXY)
        .env("MORE_KEY", MORE)
        .env("UNRELATED_KEY", "unrelated-4711")
        .env("NO_PROXY", "localhost");
    command
}

/// What the scripted agent-runner was told.
fn told(platform: &Platform) -> Value {
    let path = platform.home.join("data/agent-runner/told.json");
    serde_json::from_slice(&fs_err::read(path).expect("it was told something")).expect("an object")
}

/// Every file below `dir`, with what it holds.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).expect("listed").flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            let bytes = fs_err::read(entry.path()).expect("read");
            found.push((entry.path(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    found
}

/// Whether `words` stand anywhere in the memory that the process writes to.
fn remembers(pid: u32, words: &str) -> bool {
    let mut memory = fs_err::File::open(format!("/proc/{pid}/mem")).expect("a process of this user");
    let maps = fs_err::read_to_string(format!("/proc/{pid}/maps")).expect("listed");
    let words = words.as_bytes();
    maps.lines().filter(|line| line.contains(" rw") && !line.contains("[v")).any(|line| {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("a number");
        let (start, end) = (number(start), number(end));
        let mut bytes = vec![0; usize::try_from(end - start).expect("fits")];
        memory.seek(SeekFrom::Start(start)).expect("sought");
        memory.read_exact(&mut bytes).is_ok() && memchr::memmem::find(&bytes, words).is_some()
    })
}

#[test]
fn keys_reach_the_agent_runner_and_nobody_else() {
    let platform = Platform::new(&chatterbox()).config("[agent-runner]\nenvironment = [\"MORE_*\"]\n");
    let output = with_keys(&platform, &platform.start_words(&["--json"]));
    assert!(output.status.success(), "{}", text(&output));

    let environment = &told(&platform)["environment"];
    assert_eq!(environment["ANTHROPIC_API_KEY"], KEY);
    assert_eq!(environment["HTTPS_PROXY"], PROXY);
    assert_eq!(environment["MORE_KEY"], MORE);
    assert_eq!(environment["NO_PROXY"], "localhost");
    assert!(environment.get("UNRELATED_KEY").is_none() && environment.get("PATH").is_none(), "names only");

    let status = platform.status();
    let token = platform.token();
    let secrets = [KEY, "pass-word-4711", MORE, "unrelated-4711", &token];
    let processes = platform.processes();
    assert_eq!(processes.len(), 5, "all are looked at, the attendant too");
    for pid in &processes {
        for file in ["cmdline", "environ"] {
            let bytes = fs_err::read(format!("/proc/{pid}/{file}")).expect("it runs");
            let words = String::from_utf8_lossy(&bytes);
            for secret in secrets {
                assert!(!words.contains(secret), "{file} of {pid} has {secret}");
            }
        }
    }
    // The supervisor must remember them, to tell a restarted agent-runner: so this way of looking finds them.
    assert!(remembers(pid(&status), KEY));
    for name in ["stigmer-server", "workflow-runner"] {
        assert!(!remembers(pid(component(&status, name)), KEY), "{name}");
    }

    let mut follow = platform.follow("agent-runner");
    assert!(follow.until("in pieces: ").contains("in pieces: [redacted ANTHROPIC_API_KEY]"));
    assert!(follow.until("out: ").contains("out: [redacted ANTHROPIC_API_KEY]"));
    drop(follow);
    let logs = platform.run(&["server", "logs", "-n", "10000", "--json"]);
    let version = component(&status, "agent-runner")["version"].as_str().expect("text");
    assert_eq!(version, "1 [redacted ANTHROPIC_API_KEY]");
    for shown in [text(&output), status.to_string(), text(&logs)] {
        for secret in secrets {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    platform.stop();
    platform.assert_clean();

    fs_err::remove_file(platform.home.join("data/agent-runner/told.json")).expect("removed");
    let kept = files(&platform.home);
    let log = &kept.iter().find(|(path, _)| path.ends_with("logs/agent-runner.log")).expect("a log").1;
    assert!(log.contains("my key is [redacted ANTHROPIC_API_KEY], not [redacted MORE_KEY]"), "{log}");
    assert!(log.contains("[redacted token]") && log.contains("[redacted HTTPS_PROXY]"), "{log}");
    for (path, words) in &kept {
        for secret in secrets {
            let own = path.ends_with("run/token") && secret == token;
            assert!(own || !words.contains(secret), "{secret} in {}", path.display());
        }
    }
}

#[test]
fn a_failed_start_tells_no_key() {
    let script = format!(
        r#"trap '' TERM
read -r config
echo 'using {KEY}' >&2
printf '{{"event":"failed","reason":"refused: {KEY}","hint":"not {KEY}"}}\n'
exit 78"#
    );
    let platform = Platform::new(&script);
    for more in [&["--json"][..], &[]] {
        let output = with_keys(&platform, &platform.start_words(more));
        assert_eq!(output.status.code(), Some(78), "{}", text(&output));
        let said = text(&output);
        assert!(said.contains("refused: [redacted ANTHROPIC_API_KEY]"), "{said}");
        assert!(said.contains("not [redacted ANTHROPIC_API_KEY]"), "{said}");
        assert!(said.contains("using [redacted ANTHROPIC_API_KEY]"), "{said}");
        assert!(!said.contains(KEY), "{said}");
    }
    platform.assert_clean();
}

#[test]
fn an_environment_of_any_size_and_kind_starts() {
    let platform = Platform::new(GOOD);
    let mut command = platform.command(&platform.start_words(&["--json"]));
    for number in 0..12 {
        command.env(format!("JUNK_{number}"), "j".repeat(100_000));
    }
    command.env("BASH_FUNC_cat%%", "() { exit 9; }").env("LD_LIBRARY_PATH", "/junk").env("LC_TIME", "C");
    let output = command.output().expect("stigmer runs");
    assert!(output.status.success(), "{}", text(&output));
    for pid in platform.processes() {
        let bytes = fs_err::read(format!("/proc/{pid}/environ")).expect("it runs");
        let words = String::from_utf8_lossy(&bytes);
        for absent in ["JUNK_", "BASH_FUNC", "/junk"] {
            assert!(!words.contains(absent), "{absent} in {pid}");
        }
        for present in ["PATH=", "LC_TIME=C", "STIGMER_HOME="] {
            assert!(words.contains(present), "no {present} in {pid}");
        }
    }
    platform.stop();
    platform.assert_clean();
}

#[test]
fn a_supervisor_that_a_person_runs_passes_no_key_on_either() {
    let platform = Platform::new(&chatterbox());
    let agent = platform.agent.to_str().expect("text");
    let words = ["internal-supervisor", "--port", "0", "--use-local-binary", agent];
    let mut child =
        command_with_keys(&platform, &words).stdout(Stdio::piped()).spawn().expect("stigmer runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    lines
        .map(|line| line.expect("read"))
        .find(|line| line.contains("\"event\":\"up\""))
        .expect("it comes up");
    assert_eq!(told(&platform)["environment"]["ANTHROPIC_API_KEY"], KEY);
    for pid in platform.processes().into_iter().filter(|pid| *pid != child.id()) {
        let bytes = fs_err::read(format!("/proc/{pid}/environ")).expect("it runs");
        let words = String::from_utf8_lossy(&bytes);
        assert!(!words.contains(KEY) && !words.contains("unrelated-4711"), "{pid}: {words}");
    }
    stigmer_test_support::server::signal(child.id(), rustix::process::Signal::INT);
    assert!(child.wait().expect("ends").success());
    platform.assert_clean();
}

#[test]
fn what_cannot_be_passed_on_is_named_before_anything_starts() {
    use std::os::unix::ffi::OsStrExt;
    let platform = Platform::new(GOOD);
    let words = platform.start_words(&[]);
    let long = "v4711".repeat(4000);
    let odd = std::ffi::OsStr::from_bytes(b"v4711\xff");
    for (value, reason) in [(long.as_ref(), "has 20000 bytes"), (odd, "is not valid Unicode")] {
        let output = platform.command(&words).env("OPENAI_API_KEY", value).output().expect("stigmer runs");
        assert_eq!(output.status.code(), Some(78), "{}", text(&output));
        let said = text(&output);
        assert!(said.contains("OPENAI_API_KEY") && said.contains(reason) && said.contains("hint:"), "{said}");
        assert!(!said.contains("v4711"), "{said}");
    }
    let mut command = platform.command(&words);
    for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OLLAMA_API_KEY"] {
        command.env(name, "v".repeat(16_000));
    }
    let output = command.output().expect("stigmer runs");
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("together"), "{}", text(&output));
    assert!(!platform.home.join("logs").exists(), "nothing was started");
    platform.assert_clean();
}

#[test]
fn a_file_gives_what_the_environment_does_not() {
    use std::os::unix::fs::PermissionsExt;
    let platform = Platform::new(&chatterbox()).config("");
    let path = platform.home.join("secrets.env");
    let text_of_file = format!(
        "# for the service\nOPENAI_API_KEY='of-the-file-4711'\nANTHROPIC_API_KEY=of-the-file\nMORE_KEY={MORE}\n"
    );
    fs_err::write(&path, text_of_file).expect("written");

    // Readable by others: nothing is started.
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
    let output = with_keys(&platform, &platform.start_words(&["--json"]));
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    let said = json(&output);
    assert!(said["error"].as_str().is_some_and(|words| words.contains("mode 644")), "{said}");
    assert!(said["hints"][0].as_str().is_some_and(|words| words.contains("chmod 600")), "{said}");
    platform.assert_clean();

    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    let output = with_keys(&platform, &platform.start_words(&["--json"]));
    assert!(output.status.success(), "{}", text(&output));
    let environment = &told(&platform)["environment"];
    assert_eq!(environment["OPENAI_API_KEY"], "of-the-file-4711");
    assert_eq!(environment["MORE_KEY"], MORE, "what is in the file needs no leave");
    assert_eq!(environment["ANTHROPIC_API_KEY"], KEY, "the environment is stronger");
    let mut follow = platform.follow("agent-runner");
    assert!(follow.until("my key is").contains("not [redacted MORE_KEY]"));
    drop(follow);

    // A mistake in the file keeps a restart from stopping what runs.
    fs_err::write(&path, "OPENAI_API_KEY='of-the-file-4711\n").expect("written");
    let output = with_keys(&platform, &["server", "restart"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("secrets.env`, line 1: ") && !said.contains("4711"), "{said}");
    assert_eq!(platform.status()["ready"], true);
    platform.stop();
    platform.assert_clean();
}
