//! TLS by rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls_native_certs::load_native_certs;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::refusal::Refusal;
use crate::{Address, Options};

/// What TLS needs, read once; or why it cannot be had, which every attempt to connect then says.
pub(crate) struct Tls(Result<Option<Encryption>, String>);

pub(crate) struct Encryption(TlsConnector);

impl Tls {
    pub(crate) fn new(options: &Options) -> Self {
        Self(options.tls.then(|| Encryption::new(options.tls_ca.as_deref())).transpose())
    }

    pub(crate) fn get(&self) -> Result<Option<&Encryption>, &str> {
        self.0.as_ref().map(Option::as_ref).map_err(String::as_str)
    }
}

impl Encryption {
    fn new(authorities: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let certificates: Vec<CertificateDer<'static>> = match authorities {
            None => load_native_certs().certs,
            Some(file) => CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(|error| format!("certificates in {}: {error}", file.display()))?,
        };
        let (taken, _ignored) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(authorities.map_or_else(
                || "the system trusts no authority".to_owned(),
                |file| format!("no certificate in {}", file.display()),
            ));
        }
        // Not the process's default provider: another library may have set none, or another one.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The server must hold a certificate for the name or IP address in `to`.
    pub(crate) async fn encrypt(
        &self,
        stream: TcpStream,
        to: &Address,
    ) -> Result<TlsStream<TcpStream>, Refusal> {
        let name = ServerName::try_from(to.host.clone()).map_err(|_| {
            Refusal::Tls(format!("`{}` is no name that a certificate can hold", to.host).into())
        })?;
        self.0.connect(name, stream).await.map_err(|error| Refusal::Tls(error.to_string().into()))
    }
}
