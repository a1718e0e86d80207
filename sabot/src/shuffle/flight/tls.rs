//! Certificates: both ends show one, and know the authority that signed the other's.

use std::path::Path;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::{Error, Result};

/// What a process shows, and whom it trusts; all in PEM.
#[derive(Clone)]
pub struct Tls {
    identity: Identity,
    authority: Certificate,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(***)")
    }
}

impl Tls {
    /// From the certificate of this process with those between it and the authority, its private key, and the authority's certificate.
    pub fn new(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>, authority: impl AsRef<[u8]>) -> Self {
        Tls { identity: Identity::from_pem(certificate, key), authority: Certificate::from_pem(authority) }
    }
    /// The same from files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read(certificate: &Path, key: &Path, authority: &Path) -> Result<Self> {
        let read = |path: &Path, what: &str| std::fs::read(path).map_err(|e| Error::io(path, format!("cannot read the {what}"), e));
        Ok(Tls::new(read(certificate, "certificate")?, read(key, "private key")?, read(authority, "certificate of the authority")?))
    }
    /// For the end that listens: callers must show a certificate of the authority.
    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.authority.clone())
    }
    /// For the end that calls. `domain` is the name in the other's certificate.
    pub(super) fn client(&self, domain: &str) -> ClientTlsConfig {
        ClientTlsConfig::new().identity(self.identity.clone()).ca_certificate(self.authority.clone()).domain_name(domain)
    }
}
