//! The API over TLS: what the server shows and whom it lets in, and whom its callers trust.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::shuffle::flight::Tls;
use crate::{Error, Result};

/// How long a caller may take until it and the server know each other.
const GREETING: Duration = Duration::from_secs(10);
/// Callers that are known, and wait to be served.
const WAITING: usize = 64;

/// Whose certificates a caller of the API trusts, and what it shows itself, if anything.
#[derive(Clone)]
pub struct Trust {
    authority: Vec<u8>,
    shows: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust(***)")
    }
}

impl Trust {
    /// Trusts servers whose certificate this authority has signed; its own, in PEM, may be several.
    pub fn new(authority: impl AsRef<[u8]>) -> Self {
        Trust { authority: authority.as_ref().to_vec(), shows: None }
    }
    /// Shows this certificate, whose private key this is, both in PEM.
    pub fn showing(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.shows = Some((certificate.as_ref().to_vec(), key.as_ref().to_vec()));
        self
    }
    /// The same from files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read(authority: &Path, shows: Option<(&Path, &Path)>) -> Result<Self> {
        let read = |path: &Path, what: &str| std::fs::read(path).map_err(|e| Error::io(path, format!("cannot read the {what}"), e));
        let trust = Trust::new(read(authority, "certificate of the authority")?);
        Ok(match shows {
            Some((certificate, key)) => trust.showing(read(certificate, "certificate")?, read(key, "private key")?),
            None => trust,
        })
    }
    /// How to connect.
    pub(super) fn connector(&self) -> Result<TlsConnector> {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unusable)?;
        let config = config.with_root_certificates(roots(&self.authority)?);
        let config = match &self.shows {
            Some((certificate, key)) => config.with_client_auth_cert(chain(certificate)?, private(key)?).map_err(unusable)?,
            None => config.with_no_client_auth(),
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl From<&Tls> for Trust {
    fn from(tls: &Tls) -> Self {
        let (certificate, key) = tls.identity();
        Trust::new(tls.authority()).showing(certificate, key)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
fn unusable(e: impl std::fmt::Display) -> Error {
    Error::Usage(format!("these certificates cannot be used: {e}"))
}
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unusable)
}
fn private(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| Error::Usage(format!("this private key cannot be used: {e}")))
}
fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(unusable)?;
    }
    match roots.is_empty() {
        true => Err(Error::usage("the file of the authority (`--tls-ca`) has no certificate in PEM")),
        false => Ok(roots),
    }
}

/// Callers of the API that have been greeted over TLS.
pub(super) struct Secure {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: JoinHandle<()>,
}

impl Secure {
    /// Takes callers there. `shown`: whether each must show a certificate of the authority; one that is shown must be of it in any case.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub(super) fn new(listener: TcpListener, tls: &Tls, shown: bool) -> Result<Self> {
        let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(tls.authority())?), provider());
        let callers = if shown { callers } else { callers.allow_unauthenticated() };
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unusable)?;
        let config = config.with_client_cert_verifier(callers.build().map_err(unusable)?);
        let (certificate, key) = tls.identity();
        let mut config = config.with_single_cert(chain(certificate)?, private(key)?).map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let address = listener.local_addr().map_err(|e| Error::io("tcp", "cannot listen", e))?;
        let (sender, ready) = mpsc::channel(WAITING);
        let mut listener = listener;
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, from) = Listener::accept(&mut listener).await;
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                // each in a task of its own: one that says nothing holds up no other
                tokio::spawn(async move {
                    if let Ok(Some(stream)) = tokio::time::timeout(GREETING, greeted(stream, &acceptor)).await {
                        let _ = sender.send((stream, from)).await;
                    }
                });
            }
        });
        Ok(Secure { address, ready, accepting })
    }
}

/// The connection, if the caller speaks TLS and is let in. One that speaks plain HTTP is told so.
async fn greeted(mut stream: TcpStream, acceptor: &TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let mut first = [0_u8];
    stream.peek(&mut first).await.ok()?;
    if first.first().is_some_and(u8::is_ascii_uppercase) {
        let _ = stream.read(&mut [0_u8; 4096]).await;
        let said = r#"{"error":"this server speaks TLS: ask https://, with the certificate of its authority (`--tls-ca FILE`)"}"#;
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
            said.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        return None;
    }
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Some(stream),
        Err((_, mut stream)) => {
            // what the caller has sent is read to its end, so that it reads why it is not let in
            let _ = stream.shutdown().await;
            let mut rest = [0_u8; 4096];
            while let Ok(1..) = stream.read(&mut rest).await {}
            None
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(caller) => caller,
            // only when the runtime ends
            None => std::future::pending().await,
        }
    }
    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// What TLS says of a server that cannot be talked to, if it was TLS: a sentence.
pub(super) fn refusal(base: &str, error: &std::io::Error) -> Option<String> {
    use rustls::{AlertDescription as Alert, Error as E};
    let error = error.get_ref()?.downcast_ref::<E>()?;
    Some(match error {
        E::InvalidCertificate(e) => {
            format!(
                "{base}: its certificate is not trusted ({e}): `--tls-ca` names the authority that signed it, and the address a name in it"
            )
        }
        E::InvalidMessage(_) => {
            format!("{base} does not speak TLS: write http://, or start the server with `--tls-cert`, `--tls-key` and `--tls-ca`")
        }
        E::AlertReceived(Alert::CertificateRequired) => {
            format!("{base} wants a certificate: show one of its authority, `--tls-cert FILE` and `--tls-key FILE`")
        }
        E::AlertReceived(alert) => {
            format!("{base} does not take the certificate that is shown ({alert:?}): `--tls-cert` must be of its authority")
        }
        e => format!("{base}: no connection over TLS: {e}"),
    })
}
