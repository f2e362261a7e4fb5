//! Certificates of a server, signed by an authority of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Port;
use crate::program;

/// A second port that speaks TLS.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) port: Port,
    dir: PathBuf,
}

impl Tls {
    /// Makes the certificates in `dir`.
    pub(super) fn certify(dir: &Path) -> Self {
        const KEY: &str = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        const CA: &str = "-subj /CN=test-authority -addext keyUsage=keyCertSign -keyout ca.key -out ca.pem";
        const LEAF: &str = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
            -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem";
        for made in [CA, LEAF] {
            let openssl = Command::new(program("openssl", "openssl"))
                .args(KEY.split_ascii_whitespace())
                .args(made.split_ascii_whitespace())
                .current_dir(dir)
                .output()
                .expect("openssl can be started");
            assert!(openssl.status.success(), "openssl: {}", String::from_utf8_lossy(&openssl.stderr));
        }
        Self { port: Port::reserve(), dir: dir.to_owned() }
    }

    /// The lines of the configuration file.
    pub(super) fn config(&self) -> [(&'static str, String); 5] {
        let file = |name: &str| self.dir.join(name).display().to_string();
        [
            ("tls-port", self.port.number().to_string()),
            ("tls-cert-file", file("server.pem")),
            ("tls-key-file", file("server.key")),
            ("tls-ca-cert-file", file("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
        ]
    }

    pub(super) fn ca_certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }
}
