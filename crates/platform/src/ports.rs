//! Who listens on a port of this machine, so that a conflict can be explained instead of only reported.

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// Its process id.
    pub pid: u32,
    /// Its command line, or its name.
    pub command: String,
}

/// The process that listens on the TCP port `port`, as far as this user may know.
#[cfg(target_os = "linux")]
pub fn port_holder(port: u16) -> Option<PortHolder> {
    let sockets = listening_sockets(port);
    if sockets.is_empty() {
        return None;
    }
    let pid = std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let open = std::fs::read_dir(entry.path().join("fd")).ok()?;
        open.flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|link| {
                let link = link.to_string_lossy();
                link.strip_prefix("socket:[")
                    .and_then(|rest| rest.strip_suffix(']'))
                    .is_some_and(|inode| sockets.iter().any(|known| known == inode))
            })
            .then_some(pid)
    })?;
    Some(PortHolder { pid, command: words(pid, "cmdline").join(" ") })
}

/// Returns the variable `name` of the environment that the process `pid` was started with, as far as this user may know.
#[cfg(target_os = "linux")]
pub fn variable_of(pid: u32, name: &str) -> Option<String> {
    words(pid, "environ")
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// The strings of a file of `/proc/PID` that ends each with a zero byte.
#[cfg(target_os = "linux")]
fn words(pid: u32, file: &str) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The inodes of the sockets that listen on `port`.
#[cfg(target_os = "linux")]
fn listening_sockets(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .skip(1)
                .filter_map(|line| {
                    let fields: Vec<&str> = line.split_whitespace().collect();
                    let local = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
                    (local == port && *fields.get(3)? == LISTEN)
                        .then(|| fields.get(9).map(|inode| (*inode).to_owned()))
                        .flatten()
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The process that listens on the TCP port `port`: this system tells only with tools of its own.
#[cfg(not(target_os = "linux"))]
pub fn port_holder(_port: u16) -> Option<PortHolder> {
    None
}

/// Returns a variable of another process: this system tells only with tools of its own.
#[cfg(not(target_os = "linux"))]
pub fn variable_of(_pid: u32, _name: &str) -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_our_own_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let holder = port_holder(port).expect("the holder is this process");
        assert_eq!(holder.pid, std::process::id());
        let path = variable_of(holder.pid, "PATH");
        assert_eq!(path, std::env::var("PATH").ok());
        assert_eq!(variable_of(holder.pid, "PAT"), None);
    }
}
