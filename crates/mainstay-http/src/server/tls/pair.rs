use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{TlsError, expiry};

/// A longer file is no certificate.
const MAX_FILE: u64 = 1 << 20;

/// Where a pair comes from.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) expiry: Timestamp,
}

/// Stands for the content of both files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print([u8; 32]);

impl Print {
    pub(super) const UNREADABLE: Self = Self([0; 32]);
}

impl Files {
    /// The content is compared, not the time of a change: a mounted secret changes by links, and in two steps.
    pub(super) async fn read(&self) -> Result<(Print, Result<Pair, TlsError>), TlsError> {
        let files = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (certificate, key) = (content(&files.certificate)?, content(&files.key)?);
            let digest = Sha256::new().chain_update((certificate.len() as u64).to_be_bytes());
            let digest = digest.chain_update(&certificate).chain_update(&key);
            Ok((Print(digest.finalize().into()), files.pair(&certificate, &key)))
        });
        read.await.expect("reading files does not panic")
    }

    fn pair(&self, certificate: &[u8], key: &[u8]) -> Result<Pair, TlsError> {
        let unfit = |file: &Path, why: String| TlsError::Unfit { file: file.to_owned(), why };
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| unfit(&self.certificate, "is not PEM".to_owned()))?;
        let Some(own) = chain.first() else {
            return Err(unfit(&self.certificate, "holds no certificate".to_owned()));
        };
        let expiry =
            expiry::of(own).ok_or_else(|| unfit(&self.certificate, "is not a certificate".to_owned()))?;
        // Its errors may tell what the file holds.
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| unfit(&self.key, "holds no private key in PEM".to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| unfit(&self.key, format!("does not fit the certificate: {error}")))?;
        Ok(Pair { key: Arc::new(key), expiry })
    }
}

fn content(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsError> {
    let read = || {
        let mut content = zeroize::Zeroizing::new(Vec::new());
        File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE {
            return Err(io::Error::other("is too long"));
        }
        Ok(content)
    };
    read().map_err(|source| TlsError::Read { file: file.to_owned(), source })
}
