//! The tool's way to a server: its API over HTTP, or HTTPS.
//!
//! Cost: one connection for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::api::Refused;
use super::tls::{self, Trust};
use crate::{Error, Result};

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for a connection: a machine that is gone does not refuse it.
const CONNECTED: Duration = Duration::from_secs(5);
/// Of several servers the next is asked too when one has not answered for so long: it may stand still, and another lead.
const SLOW: Duration = Duration::from_secs(2);

/// A connection to a server.
///
/// ```no_run
/// # async fn show() -> sabot::Result<()> {
/// let client = sabot::cluster::Client::new("http://127.0.0.1:7480", None)?;
/// let agents: Vec<sabot::cluster::api::AgentView> = client.get("/v1/agents").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    /// Servers, of which one leads.
    bases: Vec<String>,
    /// The place of the one that answered last.
    led: Arc<AtomicUsize>,
    token: Option<String>,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.base())
    }
}

impl Client {
    /// A client of the server at `address`: `http://host:port`, or `host:port`; several, of which one leads, are separated by commas. `token` is
    /// the cluster's, if it has one.
    ///
    /// # Errors
    /// If an address is none.
    pub fn new(address: &str, token: Option<String>) -> Result<Self> {
        Self::trusting(address, token, None)
    }
    /// The same over TLS: an address without `http://` is one of `https://` then.
    ///
    /// # Errors
    /// If an address is none, or is `https://` and nobody is trusted; if the certificates cannot be used.
    pub fn trusting(address: &str, token: Option<String>, trust: Option<&Trust>) -> Result<Self> {
        let bases = address.split(',').map(|a| base(a, trust.is_some())).collect::<Result<Vec<_>>>()?;
        Ok(Client { bases, led: Arc::default(), token, tls: trust.map(Trust::connector).transpose()? })
    }
    /// The servers' addresses, for messages.
    pub fn base(&self) -> String {
        self.bases.join(" or ")
    }
    /// Asks for something.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.parse(path, &self.send("GET", path, Bytes::new()).await?)
    }
    /// Asks for text.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn text(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.send("GET", path, Bytes::new()).await?).into_owned())
    }
    /// Asks for something to be done.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|e| Error::internal(format!("a request cannot be written: {e}")))?;
        self.parse(path, &self.send("POST", path, Bytes::from(body)).await?)
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|e| Error::Data {
            place: format!("{}{path}", self.base()),
            what: format!("the answer makes no sense ({e}); is it a Sabot server of this version?"),
        })
    }
    async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Bytes> {
        let first = self.led.load(Relaxed);
        let mut next = self.bases.iter().enumerate().cycle().skip(first).take(self.bases.len()).peekable();
        let mut asked = FuturesUnordered::new();
        let mut refused: Option<Error> = None;
        loop {
            if let Some((at, base)) = next.next() {
                let body = body.clone();
                asked.push(async move { (at, self.send_to(base, method, path, body).await) });
            }
            let answer = match next.peek() {
                Some(_) => match tokio::time::timeout(SLOW, asked.next()).await {
                    Ok(answer) => answer,
                    Err(_) => continue,
                },
                None => asked.next().await,
            };
            match answer {
                // one that does not lead does not listen, and one that leads no more may not know it yet
                Some((_, Err(e @ (Error::Io { .. } | Error::Control(_))))) => {
                    if !matches!(refused, Some(Error::Control(_))) {
                        refused = Some(e);
                    }
                }
                Some((at, answer)) => {
                    self.led.store(at, Relaxed);
                    return answer;
                }
                None if next.peek().is_some() => {}
                None => return Err(refused.unwrap_or_else(|| Error::internal("a client without a server"))),
            }
        }
    }
    async fn send_to(&self, base: &str, method: &str, path: &str, body: Bytes) -> Result<Bytes> {
        let uri = format!("{base}{path}");
        let wrong = |e: &dyn std::fmt::Display| Error::Usage(format!("`{uri}`: {e}"));
        let to: Uri = uri.parse().map_err(|e| wrong(&e))?;
        let (authority, asked) = (to.authority().map_or("", |a| a.as_str()), to.path_and_query().map_or("/", |p| p.as_str()));
        let mut request = Request::builder().method(method).uri(asked).header("host", authority).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|e| wrong(&e))?;
        let late = |_| self.unreachable(std::io::ErrorKind::TimedOut.into());
        let failed = |e: std::io::Error| tls::refusal(base, &e).map_or_else(|| self.unreachable(e), Error::Usage);
        let secure = to.scheme_str() == Some("https");
        let host = to.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((host.as_str(), to.port_u16().unwrap_or(if secure { 443 } else { 80 })));
        let stream = tokio::time::timeout(CONNECTED, stream).await.map_err(late)?.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        let answer = async {
            match &self.tls {
                Some(tls) if secure => {
                    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                    exchange(tls.connect(name, stream).await?, request).await
                }
                _ => exchange(stream, request).await,
            }
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, answer).await.map_err(late)?.map_err(failed)?;
        if status.is_success() {
            return Ok(bytes);
        }
        let said = serde_json::from_slice::<Refused>(&bytes).ok().map(|r| r.error);
        Err(match (status.as_u16(), said) {
            (401, said) => Error::Usage(said.unwrap_or_else(|| format!("{base} refuses the token"))),
            (400..500, Some(said)) => Error::Usage(said),
            (_, Some(said)) => Error::Control(said),
            // a proxy, or a server that goes: it may pass
            (code @ (408 | 425 | 429 | 500..), None) => Error::io(
                base,
                format!("answers {code} to {path}, without a sentence: the server, or a proxy before it, is not ready"),
                std::io::ErrorKind::ConnectionAborted.into(),
            ),
            (code, None) => Error::Usage(format!("{base} answers {code} to {path}; is it a Sabot server?")),
        })
    }
    fn unreachable(&self, source: std::io::Error) -> Error {
        let what = match source.kind() {
            std::io::ErrorKind::TimedOut => "the server does not answer",
            _ => "cannot reach the server; start one with `server`, or name another with `--server host:port`",
        };
        Error::io(self.base(), what, source)
    }
}

/// The address of a server, as a user writes it.
fn base(address: &str, trusts: bool) -> Result<String> {
    let given = address.trim();
    let (scheme, authority) = given.split_once("://").unwrap_or((if trusts { "https" } else { "http" }, given));
    if scheme == "https" && !trusts {
        return Err(Error::Usage(format!(
            "`{given}`: say which authority has signed its certificate: `--tls-ca FILE`, or the variable SABOT_TLS_CA"
        )));
    }
    let authority = authority.trim_end_matches('/');
    let base = format!("{scheme}://{authority}");
    if authority.is_empty() || authority.contains('/') || !matches!(scheme, "http" | "https") || base.parse::<Uri>().is_err() {
        return Err(Error::Usage(format!("`{address}` is no address of a server: write host:port, as in 127.0.0.1:7480")));
    }
    Ok(base)
}

/// One request and its answer.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> std::io::Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(cause)?;
    let driven = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request).await?;
        Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
    };
    let answer = answer.await.map_err(cause);
    driven.abort();
    answer
}

/// The operating system's error, or that of TLS, behind one of HTTP.
fn cause(error: hyper::Error) -> std::io::Error {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let tls = io.get_ref().and_then(|e| e.downcast_ref::<tokio_rustls::rustls::Error>());
            return tls.map_or_else(|| std::io::Error::new(io.kind(), io.to_string()), |tls| std::io::Error::new(io.kind(), tls.clone()));
        }
        at = error.source();
    }
    // a connection that ended before the answer did
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, error.to_string())
}
