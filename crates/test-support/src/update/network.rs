//! Ways to a host: a private connection in front of it, with certificates of an authority nobody knows, and a proxy.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// An authority that issues certificates, and whom no system trusts.
pub struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    /// Makes a key and a certificate that it signs itself.
    pub fn new() -> Self {
        let authority = Self { dir: tempfile::tempdir().expect("a directory") };
        std::fs::write(
            authority.path("config"),
            "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n",
        )
        .expect("written");
        authority.openssl(
            "req -x509 -config config -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=nobody-knows -keyout ca.key -out ca.pem",
        );
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its own certificate, in PEM form.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    #[track_caller]
    fn openssl(&self, args: &str) {
        let ran = Command::new("openssl").args(args.split_whitespace()).current_dir(self.dir.path()).output();
        let ran = ran.expect("this test needs `openssl`: the package openssl");
        assert!(ran.status.success(), "{args}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    /// The certificate and key of a host with this name: `DNS:releases.test`, `IP:127.0.0.1`.
    fn issue(&self, name: &str) -> Arc<ServerConfig> {
        std::fs::write(self.path("names"), format!("subjectAltName={name}\n")).expect("written");
        self.openssl(
            "req -config config -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=host \
             -keyout host.key -out host.csr",
        );
        self.openssl(
            "x509 -req -in host.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 2 -extfile names -out host.pem",
        );
        let certificate = CertificateDer::from_pem_file(self.path("host.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path("host.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        Arc::new(config)
    }
}

/// A private way to the host at `inner`, which shows a certificate of `authority` for `name`. Ends with the test program.
pub fn private(inner: SocketAddr, authority: &Authority, name: &str) -> SocketAddr {
    let config = authority.issue(name);
    serve(move |outside| {
        let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut outside = BufReader::new(StreamOwned::new(session, outside));
        let mut inside = BufReader::new(TcpStream::connect(inner)?);
        // One answer for each request, and no request has a body.
        loop {
            let request = head(&mut outside)?;
            inside.get_mut().write_all(request.as_bytes())?;
            let answer = head(&mut inside)?;
            outside.get_mut().write_all(answer.as_bytes())?;
            let length = header(&answer, "content-length").and_then(|length| length.parse().ok());
            let length: u64 = length.expect("every answer of these tests says how long it is");
            io::copy(&mut (&mut inside).take(length), outside.get_mut())?;
            outside.get_mut().flush()?;
        }
    })
}

/// What a proxy does with who asks it.
#[derive(Clone, Copy)]
pub enum Lead {
    /// Leads to this address, whatever name was asked for.
    To(SocketAddr),
    /// Says no.
    Refuse(u16),
}

/// A proxy that remembers what it was asked. Its threads end with the test program.
pub struct Proxy {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy on a port that the system chooses.
    pub fn new(lead: Lead) -> Self {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = log.clone();
        let address = serve(move |mut outside| {
            let mut reader = BufReader::new(outside.try_clone()?);
            let request = head(&mut reader)?;
            seen.lock().expect("the log").push(request);
            match lead {
                Lead::Refuse(status) => {
                    write!(outside, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")
                }
                Lead::To(to) => {
                    let mut inside = TcpStream::connect(to)?;
                    write!(outside, "HTTP/1.1 200 OK\r\n\r\n")?;
                    let (mut back, mut to_client) = (inside.try_clone()?, outside.try_clone()?);
                    std::thread::spawn(move || {
                        let _ = io::copy(&mut back, &mut to_client);
                        let _ = to_client.shutdown(Shutdown::Both);
                    });
                    let _ = io::copy(&mut reader, &mut inside);
                    inside.shutdown(Shutdown::Both)
                }
            }
        });
        Self { address, log }
    }

    /// Socket address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests it has seen.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }
}

/// Attends to each connection in a thread of its own.
fn serve(attend: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let attend = Arc::new(attend);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let attend = attend.clone();
            std::thread::spawn(move || {
                // A client that goes away is no concern of a host's.
                let _ = attend(stream);
            });
        }
    });
    address
}

/// The lines of a request or an answer up to the empty one, which is included.
fn head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
