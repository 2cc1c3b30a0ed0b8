//! The unit of a systemd user manager, as `systemd.service(5)` and `systemd.syntax(7)` define it.

use super::{MARK, Service};
use std::fmt::Write;

/// The unit's name.
pub(super) const NAME: &str = "stigmer.service";

/// The text of the unit.
pub(super) fn render(service: &Service) -> String {
    let mut text = format!("# {MARK}\n[Unit]\nDescription=Stigmer, the local agent platform\n\n[Service]\n");
    // Ready is said by us, when all components are: who depends on the unit finds them working.
    let _ = writeln!(text, "Type=notify\nExecStart={} server start --foreground", word(&service.program));
    if let Some(home) = &service.home {
        let _ = writeln!(text, "{}{}\"", HOME_BEFORE, escape(home));
    }
    // What a restart cannot mend is not restarted: a wrong command line, no agent-runner, a wrong configuration.
    text.push_str("Restart=on-failure\nRestartSec=5\nRestartPreventExitStatus=2 69 78\n");
    // The supervisor ends its components in their order; what is left after it is ended by the manager.
    let _ = writeln!(text, "KillMode=mixed\nTimeoutStopSec={}", service.stop_limit.as_secs());
    let _ = writeln!(text, "TimeoutStartSec={}", service.start_limit.as_secs());
    // A component that is killed for its memory is the supervisor's to restart, not a reason to end all.
    text.push_str("OOMPolicy=continue\n\n[Install]\nWantedBy=default.target\n");
    text
}

const HOME_BEFORE: &str = "Environment=\"STIGMER_HOME=";

/// The home that a unit of ours names, if it names one.
pub(super) fn home_of(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(HOME_BEFORE))?;
    Some(unescape(line.strip_suffix('"')?))
}

/// One word of a command line.
fn word(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// Text between double quotes: a backslash and a quote are escaped as in C, and a percent sign would be a specifier.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' | '%' => plain.extend(rest.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::server::service::tests::service;
    use proptest::prelude::*;

    #[test]
    fn the_unit_says_what_is_run_and_for_how_long() {
        let text = render(&service("/opt/my tools/100% $HOME/stigmer", Some("/h \"o\"/m%e\\")));
        for line in [
            r#"ExecStart="/opt/my tools/100%% $HOME/stigmer" server start --foreground"#,
            r#"Environment="STIGMER_HOME=/h \"o\"/m%%e\\""#,
            "Type=notify",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 69 78",
            "KillMode=mixed",
            "TimeoutStartSec=200",
            "TimeoutStopSec=30",
            "WantedBy=default.target",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
        }
        assert!(text.starts_with(&format!("# {MARK}\n")));
        assert!(!render(&service("/bin/stigmer", None)).contains("STIGMER_HOME"));
    }

    proptest! {
        #[test]
        fn a_home_is_read_as_it_was_written(home in "/[^\\p{Cc}]*") {
            prop_assert_eq!(home_of(&render(&service("/bin/stigmer", Some(&home)))), Some(home));
        }
    }
}
