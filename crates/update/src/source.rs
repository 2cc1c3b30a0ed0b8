//! Where releases are fetched from: any static host, or the releases of a repository on GitHub.

/// Where releases are published.
pub const DEFAULT_URL: &str = "https://releases.stigmer.ai";
/// The variable that names another place.
pub const URL_VARIABLE: &str = "STIGMER_RELEASES_URL";

/// A place that releases are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    listing: String,
    is_private: bool,
    is_local: bool,
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place to fetch releases from: it must begin with https:// or http:// and name a host")]
pub struct SourceError(String);

impl Source {
    /// The source at `url`: the directory that holds the listing, or `https://github.com/OWNER/REPO`.
    pub fn parse(url: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError(url.chars().take(200).collect());
        let base = url.trim().trim_end_matches('/');
        let (scheme, rest) = base.split_once("://").ok_or_else(wrong)?;
        let is_private = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let is_plain = base.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>^`{|}?#".contains(&b));
        // A name and password in an address would end up in messages and logs.
        if authority.is_empty() || authority.contains('@') || !is_plain {
            return Err(wrong());
        }
        let path: Vec<&str> = rest.split('/').skip(1).collect();
        let listing = match (authority, &path[..]) {
            // Assets are had without the programming interface, which answers sixty times an hour.
            ("github.com", [_, _]) => format!("{base}/releases/latest/download/{}", super::Listing::NAME),
            _ => format!("{base}/{}", super::Listing::NAME),
        };
        Ok(Self { listing, is_private, is_local: is_local(authority) })
    }

    /// The address of its listing.
    pub fn listing_url(&self) -> &str {
        &self.listing
    }

    /// The directory of the listing, with a slash at its end.
    pub fn directory(&self) -> &str {
        self.listing.strip_suffix(super::Listing::NAME).unwrap_or(&self.listing)
    }

    /// Whether nobody on the way can read or change what is fetched. Nothing is believed because of it.
    pub fn is_private(&self) -> bool {
        self.is_private || self.is_local
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(url: &str) -> String {
        Source::parse(url).unwrap().listing_url().to_owned()
    }

    #[test]
    fn the_listing_lies_in_the_directory_or_among_the_assets_of_the_latest_release() {
        assert_eq!(listing(DEFAULT_URL), "https://releases.stigmer.ai/releases.json");
        assert_eq!(listing("https://host/a/b/"), "https://host/a/b/releases.json");
        assert_eq!(
            listing("https://github.com/stigmer/stigmer"),
            "https://github.com/stigmer/stigmer/releases/latest/download/releases.json"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "releases.stigmer.ai",
            "ftp://host",
            "https://",
            "https:///x",
            "file:///x",
            "https://a:b@host",
            "http://a b",
        ] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for local in ["http://127.0.0.1:80/x", "http://localhost", "http://[::1]:8080", "http://127.1.2.3"] {
            let source = Source::parse(local).unwrap();
            assert!(source.is_local() && source.is_private(), "{local}");
        }
        let mirror = Source::parse("http://mirror.example:8080/stigmer").unwrap();
        assert!(!mirror.is_local() && !mirror.is_private());
        assert!(Source::parse("https://mirror.example").unwrap().is_private());
        assert!(!Source::parse("https://localhost.example").unwrap().is_local());
    }
}
