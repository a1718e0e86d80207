//! Who may ask.
//!
//! With a token, each request has it. Without one, what is asked may come from a page that a browser on this machine has open: its browser says so
//! (`Origin`), or asks for a name that the page's owner points here (`Host`). Such requests are refused.

use std::net::IpAddr;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::shapes::Refused;

/// What a request must have.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Guard {
    /// The hash of the token.
    token: Option<[u8; 32]>,
    /// Whether only this machine can ask.
    local: bool,
}

impl Guard {
    pub(in crate::cluster) fn new(token: Option<&str>, local: bool) -> Self {
        Guard { token: token.map(|t| Sha256::digest(t).into()), local }
    }
    /// The refusal of a request, if it is refused.
    pub(super) fn refuses(&self, request: &Request) -> Option<Response> {
        let (status, error) = match self.token {
            Some(token) => (StatusCode::UNAUTHORIZED, wrong_token(&token, request.headers())?),
            None => (StatusCode::FORBIDDEN, self.foreign(request.uri(), request.headers())?),
        };
        Some((status, Json(Refused { error })).into_response())
    }
    /// Why a request without a token is taken for one of a web page.
    fn foreign(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let word = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?").trim());
        let host = word(header::HOST).or_else(|| uri.authority().map(|a| a.as_str()));
        if self.local && host.is_some_and(|h| !is_here(h)) {
            return Some(format!(
                "a server without a token answers what is asked of this machine, and not of `{}`: ask 127.0.0.1 or localhost, or start the server with a token (`--token-file`)",
                host.unwrap_or_default()
            ));
        }
        let origin = word(header::ORIGIN)?;
        let same = origin.split_once("://").is_some_and(|(_, from)| host.is_some_and(|h| h.eq_ignore_ascii_case(from)));
        (!same).then(|| {
            format!("a server without a token takes nothing from web pages, and this comes from one of `{origin}`: start the server with a token (`--token-file`)")
        })
    }
}

/// What is wrong with the token of a request.
fn wrong_token(wanted: &[u8; 32], headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    // hashes are compared, so that the time says nothing of the token
    match given {
        Some(given) if Sha256::digest(given).as_slice() == wanted => None,
        Some(_) => Some("the token is another than the server's (`--token-file`, or the variable SABOT_TOKEN)".into()),
        None => Some("the server wants a token: `--token-file FILE`, or the variable SABOT_TOKEN".into()),
    }
}

/// Whether `host`, or `host:port`, is this machine whoever answers for names.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(guard: &Guard, headers: &[(&str, &str)]) -> Option<u16> {
        let request = headers.iter().fold(Request::builder().uri("/v1/jobs"), |r, (name, value)| r.header(*name, *value));
        guard.refuses(&request.body(Body::empty()).unwrap()).map(|r| r.status().as_u16())
    }

    #[test]
    fn web_pages_are_refused_where_there_is_no_token() {
        let local = Guard::new(None, true);
        for host in ["127.0.0.1:7480", "localhost:7480", "LOCALHOST", "127.8.9.1", "[::1]:7480", "[::1]"] {
            assert_eq!(asked(&local, &[("host", host)]), None, "{host}");
            assert_eq!(asked(&local, &[("host", host), ("origin", &format!("http://{host}"))]), None, "{host}");
            for origin in ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:7480.evil.example"] {
                assert_eq!(asked(&local, &[("host", host), ("origin", origin)]), Some(403), "{host} {origin}");
            }
        }
        // a name that points here
        for host in ["evil.example:7480", "localhost.evil.example", "192.168.1.7:7480", "127.0.0.1.evil.example:7480", "[::1", "", "::1"] {
            let refused = asked(&local, &[("host", host)]);
            assert_eq!(refused, (host != "[::1").then_some(403), "{host}");
            // behind other addresses a server cannot know its names, but pages of other origins it does
            let wide = Guard::new(None, false);
            assert_eq!(asked(&wide, &[("host", host)]), None);
            assert_eq!(asked(&wide, &[("host", host), ("origin", "http://other.example")]), Some(403));
        }
        // who has the token is no page
        let token = Guard::new(Some("open-sesame"), true);
        let given = ("authorization", "Bearer open-sesame");
        assert_eq!(asked(&token, &[("host", "sabot.example"), ("origin", "http://sabot.example"), given]), None);
        for wrong in ["Bearer sesame", "Basic open-sesame", "open-sesame"] {
            assert_eq!(asked(&token, &[("authorization", wrong)]), Some(401));
        }
        assert_eq!(asked(&token, &[]), Some(401));
    }
}
