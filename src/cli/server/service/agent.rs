//! The property list of a launchd agent, as `launchd.plist(5)` defines it.

use super::{MARK, Service};

/// The agent's label.
pub(super) const LABEL: &str = "ai.stigmer.server";

/// The text of the property list.
pub(super) fn render(service: &Service) -> String {
    let program = escape(&service.program);
    let environment = service.home.as_ref().map_or_else(String::new, |home| {
        format!(
            "\t<key>EnvironmentVariables</key>\n\t<dict>\n\t\t{HOME_BEFORE}{}</string>\n\t</dict>\n",
            escape(home)
        )
    });
    // Standard output would be a second copy of the logs, which nobody rotates.
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- {MARK} -->
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>{LABEL}</string>
	<key>ProgramArguments</key>
	<array>
		<string>{program}</string>
		<string>server</string>
		<string>start</string>
		<string>--foreground</string>
	</array>
{environment}	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>ExitTimeOut</key>
	<integer>{}</integer>
	<key>StandardOutPath</key>
	<string>/dev/null</string>
	<key>StandardErrorPath</key>
	<string>{}</string>
</dict>
</plist>
"#,
        service.stop_limit.as_secs(),
        escape(&service.log),
    )
}

const HOME_BEFORE: &str = "<key>STIGMER_HOME</key><string>";

/// The home that an agent of ours names, if it names one.
pub(super) fn home_of(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(HOME_BEFORE)?;
    let (home, _) = rest.split_once("</string>")?;
    Some(home.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// Character data of XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::server::service::tests::service;
    use proptest::prelude::*;

    #[test]
    fn the_agent_says_what_is_run() {
        let text = render(&service("/opt/a & b/<stigmer>", Some("/h & o")));
        for part in [
            "\t\t<string>/opt/a &amp; b/&lt;stigmer&gt;</string>\n\t\t<string>server</string>",
            "<key>STIGMER_HOME</key><string>/h &amp; o</string>",
            "<key>ExitTimeOut</key>\n\t<integer>30</integer>",
            "<string>/logs/service.log</string>",
            MARK,
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        assert!(!render(&service("/bin/stigmer", None)).contains("STIGMER_HOME"));
    }

    proptest! {
        #[test]
        fn a_home_is_read_as_it_was_written(home in "/[^\\p{Cc}]*") {
            prop_assert_eq!(home_of(&render(&service("/bin/stigmer", Some(&home)))), Some(home));
        }
    }
}
