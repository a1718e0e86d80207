//! Certificates: both ends show one, and know the authority that signed the other's.

use std::path::Path;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::{Error, Result};

/// What a process shows, and whom it trusts; all in PEM.
#[derive(Clone)]
pub struct Tls {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(***)")
    }
}

impl Tls {
    /// From the certificate of this process with those between it and the authority, its private key, and the authority's certificate.
    pub fn new(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>, authority: impl AsRef<[u8]>) -> Self {
        Tls { certificate: certificate.as_ref().to_vec(), key: key.as_ref().to_vec(), authority: authority.as_ref().to_vec() }
    }
    /// The same from files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read(certificate: &Path, key: &Path, authority: &Path) -> Result<Self> {
        let read = |path: &Path, what: &str| std::fs::read(path).map_err(|e| Error::io(path, format!("cannot read the {what}"), e));
        Ok(Tls::new(read(certificate, "certificate")?, read(key, "private key")?, read(authority, "certificate of the authority")?))
    }
    /// The certificate of this process and its private key, in PEM.
    pub(crate) fn identity(&self) -> (&[u8], &[u8]) {
        (&self.certificate, &self.key)
    }
    /// The certificate of the authority, in PEM.
    pub(crate) fn authority(&self) -> &[u8] {
        &self.authority
    }
    /// For the end that listens: callers must show a certificate of the authority.
    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.certificate, &self.key))
            .client_ca_root(Certificate::from_pem(&self.authority))
    }
    /// For the end that calls. `domain` is the name in the other's certificate.
    pub(super) fn client(&self, domain: &str) -> ClientTlsConfig {
        let identity = Identity::from_pem(&self.certificate, &self.key);
        ClientTlsConfig::new().identity(identity).ca_certificate(Certificate::from_pem(&self.authority)).domain_name(domain)
    }
}
