//! Certificates for processes.

use std::path::Path;

/// Signs them.
pub(crate) struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Authority(rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }
    /// Writes `name-cert.pem` and `name-key.pem` for a process that is reached at `addresses`; what it is given of them.
    pub(crate) fn signs(&self, dir: &Path, name: &str, addresses: &[&str]) -> Vec<String> {
        let key = rcgen::KeyPair::generate().unwrap();
        let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(addresses).unwrap().signed_by(&key, &self.0).unwrap();
        let (cert_file, key_file) = (dir.join(format!("{name}-cert.pem")), dir.join(format!("{name}-key.pem")));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        ["--tls-cert".into(), cert_file.display().to_string(), "--tls-key".into(), key_file.display().to_string()].to_vec()
    }
    /// Writes its own certificate, `name-ca.pem`; what a process is given that trusts it.
    pub(crate) fn trusted(&self, dir: &Path, name: &str) -> Vec<String> {
        let file = dir.join(format!("{name}-ca.pem"));
        std::fs::write(&file, self.0.pem()).unwrap();
        vec!["--tls-ca".into(), file.display().to_string()]
    }
}
