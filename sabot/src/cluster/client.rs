//! The tool's way to a server: its API over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::Refused;
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
    http: Http<HttpConnector, Full<Bytes>>,
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
        let bases = address.split(',').map(base).collect::<Result<Vec<_>>>()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECTED));
        Ok(Client { bases, led: Arc::default(), token, http: Http::builder(TokioExecutor::new()).build(connector) })
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
        let mut request = Request::builder().method(method).uri(format!("{base}{path}")).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|e| Error::Usage(format!("`{base}{path}`: {e}")))?;
        let late = |_| self.unreachable(std::io::ErrorKind::TimedOut.into());
        let answer = tokio::time::timeout(PATIENCE, self.http.request(request)).await.map_err(late)?;
        let answer = answer.map_err(|e| self.unreachable(cause(&e)))?;
        let status = answer.status();
        let bytes = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.map_err(late)?;
        let bytes = bytes.map_err(|e| self.unreachable(std::io::Error::other(e)))?.to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        let said = serde_json::from_slice::<Refused>(&bytes).ok().map(|r| r.error);
        Err(match (status.as_u16(), said) {
            (401, said) => Error::Usage(said.unwrap_or_else(|| format!("{base} refuses the token"))),
            (400..500, Some(said)) => Error::Usage(said),
            (_, Some(said)) => Error::Control(said),
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
fn base(address: &str) -> Result<String> {
    let given = address.trim();
    if given.starts_with("https://") {
        return Err(Error::Usage(format!("`{given}`: the server's API is plain HTTP; put a proxy before it for HTTPS, or write http://")));
    }
    let authority = given.trim_start_matches("http://").trim_end_matches('/');
    let base = format!("http://{authority}");
    if authority.is_empty() || authority.contains('/') || base.parse::<hyper::Uri>().is_err() {
        return Err(Error::Usage(format!("`{address}` is no address of a server: write host:port, as in 127.0.0.1:7480")));
    }
    Ok(base)
}

/// The operating system's error behind one of the client's.
fn cause(error: &(dyn std::error::Error + 'static)) -> std::io::Error {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return std::io::Error::new(io.kind(), io.to_string());
        }
        at = error.source();
    }
    std::io::Error::other(error.to_string())
}
