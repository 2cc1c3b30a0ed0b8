//! The proxy that the environment names, and who is asked without it.
//!
//! The library finds one by itself, but takes `NO_PROXY` more literally than other programs do, and so asks the proxy for hosts
//! that a company means to be asked directly.

use ureq::Proxy;

/// In this order: releases are asked for with `https`, so what is said for it comes first.
const NAMES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];

/// A variable that names a proxy, and not so that it could be asked. To go on without it would tell the world what was to be
/// told to the proxy alone.
#[derive(Debug, thiserror::Error)]
#[error("{variable} does not name a proxy that can be asked")]
pub struct ProxyError {
    /// The variable. What it holds may be a password, and is not repeated.
    pub variable: &'static str,
}

/// The proxy to ask, if there is one.
pub(super) fn named() -> Result<Option<Proxy>, ProxyError> {
    read(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
}

/// The address of a proxy, for people: without name and password.
pub(super) fn shown(proxy: &Proxy) -> String {
    let scheme = proxy.uri().scheme_str().unwrap_or("http").to_ascii_lowercase();
    format!("{scheme}://{}:{}", proxy.host(), proxy.port())
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, ProxyError> {
    let Some((name, address)) = NAMES.iter().find_map(|name| Some((name, variable(name)?))) else {
        return Ok(None);
    };
    let unusable = || ProxyError { variable: name };
    let found = Proxy::new(address.trim()).map_err(|_| unusable())?;
    let mut proxy = Proxy::builder(found.protocol()).host(found.host()).port(found.port());
    if let Some(name) = found.username() {
        proxy = proxy.username(name);
    }
    if let Some(password) = found.password() {
        proxy = proxy.password(password);
    }
    let without = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    for entry in without.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
        proxy = proxy.no_proxy(entry);
        // A name stands for all below it, with a dot before it or without.
        if !entry.starts_with(['.', '*']) {
            proxy = proxy.no_proxy(&format!(".{entry}"));
        }
    }
    proxy.build().map(Some).map_err(|_| unusable())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Option<Proxy>, ProxyError> {
        read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_nearest_variable_counts_and_keeps_its_name_and_password() {
        assert!(with(&[("NO_PROXY", "*")]).unwrap().is_none());
        let error =
            with(&[("HTTPS_PROXY", "nonsense://me:secret@x"), ("ALL_PROXY", "http://p:1")]).unwrap_err();
        assert_eq!(error.to_string(), "HTTPS_PROXY does not name a proxy that can be asked");
        let all = [("ALL_PROXY", "socks5://all:1"), ("https_proxy", "http://me:a%2Fb%40c@near:3128/")];
        let proxy = with(&all).unwrap().unwrap();
        assert_eq!(shown(&proxy), "http://near:3128");
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("a/b@c")));
        assert_eq!(shown(&with(&all[..1]).unwrap().unwrap()), "socks5://all:1");
        assert_eq!(shown(&with(&[("ALL_PROXY", "[::1]:8080")]).unwrap().unwrap()), "http://[::1]:8080");
    }

    #[test]
    fn a_name_without_proxy_stands_for_all_below_it_wherever_blanks_are() {
        let proxy = with(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "one.test, Two.test,.three.test")])
            .unwrap()
            .unwrap();
        let direct = |host: &str| proxy.is_no_proxy(&format!("https://{host}/x").parse().unwrap());
        for host in ["one.test", "a.one.test", "two.test", "a.two.test", "a.three.test"] {
            assert!(direct(host), "{host}");
        }
        for host in ["test", "one.test.example", "phone.test", "four.test"] {
            assert!(!direct(host), "{host}");
        }
    }
}
