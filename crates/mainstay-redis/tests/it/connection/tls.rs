use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use mainstay_testkit::redis::RedisServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

/// A server with a certificate for 127.0.0.1, and the file of the authority that signed it.
struct Encrypted {
    _server: RedisServer,
    address: SocketAddr,
    authority: PathBuf,
    files: TempDir,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Encrypted {
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, content: String| {
            let path = files.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (issuer, key) = (authority(), KeyPair::generate().unwrap());
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = file("server.pem", params.signed_by(&key, &issuer).unwrap().pem());
        let (key, authority) = (file("key.pem", key.serialize_pem()), file("ca.pem", issuer.pem()));
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let server = RedisServer::builder()
            .arg("tls-port", &free.port().to_string())
            .arg("tls-cert-file", &certificate.to_string_lossy())
            .arg("tls-key-file", &key.to_string_lossy())
            .arg("tls-ca-cert-file", &authority.to_string_lossy())
            .arg("tls-auth-clients", "no")
            .start()
            .await;
        Self { _server: server, address: free, authority, files }
    }

    fn options(&self) -> Options {
        let mut options = options(self.address);
        (options.tls, options.tls_ca) = (true, Some(self.authority.clone()));
        options
    }
}

#[tokio::test]
async fn everything_goes_over_tls_where_it_is_asked_for() {
    let server = Encrypted::start().await;
    let redis = connected(server.options()).await;
    redis.call(set("ms:k", "v")).await.unwrap();
    assert_eq!(redis.call(get("ms:k")).await, Ok(Answer::Bytes("v".into())));
    let listens = async || redis.listen(b"ms:c".to_vec()).await.is_ok();
    eventually_async("subscriptions, too", SOON, listens).await;
}

#[tokio::test]
async fn a_server_that_nobody_trusted_vouches_for_is_refused() {
    let server = Encrypted::start().await;
    let other = server.files.path().join("other.pem");
    std::fs::write(&other, authority().pem()).unwrap();
    let mut options = server.options();
    options.tls_ca = Some(other);
    refused(&open(options.clone()), "invalid peer certificate").await;

    options.tls_ca = Some(server.files.path().join("none.pem"));
    refused(&open(options.clone()), "none.pem").await;

    options.tls = false;
    let redis = open(options);
    refused(&redis, "connection").await;
}
