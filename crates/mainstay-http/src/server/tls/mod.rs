//! TLS by rustls with ring, and a certificate that may change while the server runs.

mod expiry;
mod pair;

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_core::metrics::{Counter, Gauge, Metrics, Unit};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use pair::{Files, Pair, Print};

/// Pause between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// Requests on this connection came encrypted: an extension of each of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// The certificate of a server, from two files. Cheap to clone.
///
/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, clients without certificates. Connections that are open keep the
/// certificate they began with.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: Files,
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    /// What was last seen in the files, good or not: each content is judged, logged and counted once.
    seen: Mutex<Print>,
    metrics: TlsMetrics,
}

/// The certificate and key cannot be used. The text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// Which one.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be, or the two do not belong together.
    #[error("{}: {why}", file.display())]
    Unfit {
        /// Which one.
        file: PathBuf,
        /// What is wrong with it; nothing of its content.
        why: String,
    },
}

impl Tls {
    /// Reads the PEM files: the certificate with its chain, the server's own first, and its private key.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be used.
    pub async fn open(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        metrics: &Metrics,
    ) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let metrics = TlsMetrics::new(metrics);
        let (print, pair) = files.read().await?;
        let pair = pair?;
        metrics.loaded(&pair);
        let current = Arc::new(Current(ArcSwap::new(pair.key)));
        let acceptor = acceptor(Arc::clone(&current));
        Ok(Self(Arc::new(Shared { files, acceptor, current, seen: Mutex::new(print), metrics })))
    }

    /// Looks at the files now. `Ok(true)` when they hold a new pair, which the next handshakes use.
    ///
    /// # Errors
    /// [`TlsError`] when they have changed and cannot be used, or cannot be read: the old pair stays. It is given
    /// once for each content.
    pub async fn reload(&self) -> Result<bool, TlsError> {
        let shared = &self.0;
        let mut seen = shared.seen.lock().await;
        let loaded = match shared.files.read().await {
            Ok((print, _)) if print == *seen => return Ok(false),
            Ok((print, pair)) => {
                *seen = print;
                pair
            }
            // Being unreadable is a content, too.
            Err(_) if *seen == Print::UNREADABLE => return Ok(false),
            Err(error) => {
                *seen = Print::UNREADABLE;
                Err(error)
            }
        };
        match loaded {
            Ok(pair) => {
                shared.metrics.reloaded.increment(1);
                shared.metrics.loaded(&pair);
                shared.current.0.store(pair.key);
                Ok(true)
            }
            Err(error) => {
                shared.metrics.failed.increment(1);
                Err(error)
            }
        }
    }

    /// Follows the files, for ever: a new pair is used within ten seconds, one that cannot be used is logged and
    /// the old one stays.
    pub async fn watch(&self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.reload().await {
                Ok(false) => {}
                Ok(true) => tracing::info!(file = %self.0.files.certificate.display(), "new TLS certificate"),
                Err(error) => tracing::error!(%error, "keeping the old TLS certificate"),
            }
        }
    }

    /// The handshake on a new connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.0.acceptor.accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.0.files.certificate).finish_non_exhaustive()
    }
}

fn acceptor(current: Arc<Current>) -> TlsAcceptor {
    // Not the process's default provider: another library may have set none, or another one.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring speaks both")
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// The pair in use.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

struct TlsMetrics {
    expiry: Gauge,
    reloaded: Counter,
    failed: Counter,
}

impl TlsMetrics {
    fn new(metrics: &Metrics) -> Self {
        const EXPIRY: &str = "tls_certificate_expiry_timestamp_seconds";
        const RELOADS: &str = "tls_certificate_reloads_total";
        metrics.describe_gauge(EXPIRY, Unit::Seconds, "When the certificate in use ends, in Unix time.");
        metrics.describe_counter(
            RELOADS,
            Unit::None,
            "Changes of the certificate's files, by what came of them.",
        );
        let reloads = |result| metrics.counter(RELOADS).with(&[("result", result)]);
        Self { expiry: metrics.gauge(EXPIRY).with(&[]), reloaded: reloads("ok"), failed: reloads("failed") }
    }

    fn loaded(&self, pair: &Pair) {
        self.expiry.set(pair.expiry.as_second() as f64);
        if pair.expiry <= jiff::Timestamp::now() {
            tracing::warn!(ended = %pair.expiry, "the TLS certificate is no longer valid");
        }
    }
}
