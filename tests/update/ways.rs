//! Ways to a host that lead through a company's network: certificates of its own, and proxies.

use rustix::net::{self, AddressFamily, SocketType};
use std::net::SocketAddr;
use std::path::Path;
use stigmer_test_support::namespace::{MOUNTS, inside};
use stigmer_test_support::update::{Authority, Lead, Proxy, World, private, run};
use stigmer_test_support::{Ran, test_name};

/// A name that nobody here can resolve.
const NAME: &str = "releases.test";
/// The port is said in the address, but only a proxy leads there.
const URL: &str = "https://releases.test:8443";
/// The name and password for a proxy, as an address has them, and as they are sent: the password is `s3cret/word`.
const CREDENTIALS: &str = "carol:s3cret%2Fword";
const SENT: &str = "Basic Y2Fyb2w6czNjcmV0L3dvcmQ=";

/// Updates from `url` with these variables in the environment.
fn update(world: &World, url: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = world.command(&["self-update"]);
    run(command.env("STIGMER_RELEASES_URL", url).envs(variables.iter().copied()))
}

/// The line of `config.toml` that names these certificates.
fn trusting(path: &Path) -> String {
    format!("ca_file = '{}'", path.display())
}

/// The password of the proxy shows in nothing that was said.
#[track_caller]
fn assert_discreet(ran: &Ran) {
    for secret in ["s3cret", "Y2Fyb2w6czNjcmV0L3dvcmQ"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret} shows in {ran:#?}");
    }
}

/// A host that only a proxy leads to, with a certificate for its name; `config.toml` trusts who issued it.
fn behind(world: &World) -> SocketAddr {
    let authority = Authority::new();
    let kept = world.path("company.pem");
    std::fs::copy(authority.certificate(), &kept).expect("copied");
    world.config(&trusting(&kept));
    private(world.host.address(), &authority, &format!("DNS:{NAME}"))
}

#[test]
fn a_certificate_of_an_unknown_authority_is_accepted_only_if_the_authority_is_named() {
    let world = World::new();
    let authority = Authority::new();
    let ca = authority.certificate();
    let ca = ca.to_str().expect("text");
    let url = format!("https://{}", private(world.host.address(), &authority, "IP:127.0.0.1"));
    let refused = |world: &World, variables: &[(&str, &str)]| {
        update(world, &url, variables).code(68).says(&["its certificate is not accepted", "ca_file"]);
        world.assert_untouched();
        assert!(world.host.take_log().is_empty(), "something was asked all the same");
    };
    refused(&world, &[]);
    // Another authority does not help.
    let stranger = Authority::new();
    refused(&world, &[("SSL_CERT_FILE", stranger.certificate().to_str().expect("text"))]);
    update(&world, &url, &[("SSL_CERT_FILE", ca)]).code(0);
    world.assert_updated();

    let second = World::new();
    let url = format!("https://{}", private(second.host.address(), &authority, "IP:127.0.0.1"));
    second.config(&trusting(&authority.certificate()));
    update(&second, &url, &[]).code(0);
    second.assert_updated();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let world = World::new();
    let authority = Authority::new();
    world.config(&trusting(&authority.certificate()));
    for name in ["DNS:other.test", "IP:127.0.0.2"] {
        let url = format!("https://{}", private(world.host.address(), &authority, name));
        update(&world, &url, &[]).code(68).says(&["its certificate is not accepted", "not valid for name"]);
        world.assert_untouched();
    }
    assert!(world.host.take_log().is_empty(), "something was asked all the same");
}

#[test]
fn a_proxy_leads_to_a_host_that_only_it_knows() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let world = World::new();
        let proxy = Proxy::new(Lead::To(behind(&world)));
        let through = format!("http://{CREDENTIALS}@{}", proxy.address());
        let ran = update(&world, URL, &[(variable, &through)]).code(0);
        world.assert_updated();
        assert_discreet(&ran);
        let log = proxy.log();
        assert!(!log.is_empty());
        for request in log {
            assert!(request.starts_with(&format!("CONNECT {NAME}:8443 HTTP/1.1\r\n")), "{request}");
            assert!(request.contains(&format!("Proxy-Authorization: {SENT}\r\n")), "{request}");
        }
        // What is for the proxy does not go on to the host.
        for request in world.host.take_log() {
            assert_eq!(request.header("proxy-authorization"), None, "{request:?}");
        }
    }
}

#[test]
fn a_host_named_in_no_proxy_is_asked_directly() {
    if !inside(MOUNTS, test_name!()) {
        return;
    }
    let world = World::new();
    let hosts = world.path("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost {NAME}\n")).expect("written");
    let mount = run(std::process::Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts"));
    assert_eq!(mount.code, Some(0), "{mount:#?}");
    let host = behind(&world);
    let url = format!("https://{NAME}:{}", host.port());
    let proxy = Proxy::new(Lead::Refuse(403));
    let through = format!("http://{CREDENTIALS}@{}", proxy.address());
    // Another name in the list changes nothing: the proxy is asked, and refuses.
    let ran = update(&world, &url, &[("HTTPS_PROXY", &through), ("NO_PROXY", "other.test")]).code(68);
    assert_discreet(&ran.says(&["status 403"]));
    assert_eq!(proxy.log().len(), 1);
    world.assert_untouched();
    update(&world, &url, &[("HTTPS_PROXY", &through), ("NO_PROXY", "other.test, releases.test")]).code(0);
    world.assert_updated();
    assert_eq!(proxy.log().len(), 1, "the proxy was asked all the same");
}

#[test]
fn a_host_on_this_machine_is_asked_directly() {
    let world = World::new();
    let proxy = Proxy::new(Lead::Refuse(403));
    let through = format!("http://{}", proxy.address());
    update(&world, &world.host.url(), &[("ALL_PROXY", &through), ("HTTP_PROXY", &through)]).code(0);
    world.assert_updated();
    assert!(proxy.log().is_empty());
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    // How often it is asked: what may pass is tried again, what will not is not.
    for (status, words, asked) in [(407, "wants another name or password", 1), (502, "status 502", 5)] {
        let world = World::new();
        let proxy = Proxy::new(Lead::Refuse(status));
        let through = format!("http://{CREDENTIALS}@{}", proxy.address());
        let name = format!("the proxy `http://{}`", proxy.address());
        let ran = update(&world, URL, &[("HTTPS_PROXY", &through)]).code(68);
        assert_discreet(&ran.says(&[&name, words, "HTTPS_PROXY"]));
        assert_eq!(proxy.log().len(), asked);
        world.assert_untouched();
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let world = World::new();
    // A port that is taken, and nobody listens.
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let address = SocketAddr::try_from(net::getsockname(&socket).expect("a name")).expect("an address");
    let through = format!("http://{CREDENTIALS}@{address}");
    let ran = update(&world, URL, &[("HTTPS_PROXY", &through)]).code(68);
    assert_discreet(&ran.says(&[
        "by way of the proxy",
        &format!("`http://{address}`"),
        "refused",
        "HTTPS_PROXY",
    ]));
    world.assert_untouched();
}
