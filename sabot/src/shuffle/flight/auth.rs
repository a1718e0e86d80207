//! Who may call: a bearer token on every call, and a signed ticket for what belongs to a job.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use crate::clock::time_of_day;
use crate::sync::lock;
use crate::{Error, Result};

/// The shortest key that tickets are signed with, in bytes.
const SHORTEST_KEY: usize = 16;
/// Bytes of an HMAC-SHA256.
const SIGNATURE: usize = 32;

/// The word that every call to a [`Node`](super::Node) carries as `authorization: Bearer ..`.
#[derive(Clone)]
pub struct Token {
    header: MetadataValue<Ascii>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// A token of visible ASCII characters.
    ///
    /// # Errors
    /// If it is empty, or has blanks or characters that no header may have.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::usage("a token is a word of visible ASCII characters, without blanks (`--token`)"));
        }
        let mut header = MetadataValue::try_from(format!("Bearer {text}")).map_err(|_| Error::usage("this token cannot be a header"))?;
        header.set_sensitive(true);
        Ok(Token { header })
    }
    /// Puts it on a call.
    pub(super) fn put<T>(&self, request: &mut Request<T>) {
        request.metadata_mut().insert("authorization", self.header.clone());
    }
    /// Whether a call has it. The time that this takes does not depend on how much of a wrong token is right.
    pub(super) fn check<T>(&self, request: &Request<T>) -> Result<(), Box<Status>> {
        let Some(given) = request.metadata().get("authorization") else {
            return Err(Box::new(Status::unauthenticated("this call has no token: send `authorization: Bearer <token>`")));
        };
        let wrong = || Box::new(Status::unauthenticated("this call has another token than this process was started with"));
        // Both are hashed, so that what is compared has one length.
        let hash = |bytes: &[u8]| -> Result<Hmac<Sha256>, Box<Status>> {
            let mut mac = Hmac::<Sha256>::new_from_slice(b"sabot token").map_err(|_| wrong())?;
            mac.update(bytes);
            Ok(mac)
        };
        let given = hash(given.as_bytes())?.finalize().into_bytes();
        hash(self.header.as_bytes())?.verify_slice(&given).map_err(|_| wrong())
    }
}

/// What a ticket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To send the rows of the job's edges.
    Exchange,
    /// To read an output of the job.
    Output {
        /// Its name.
        name: String,
        /// Where its rows are, as those understand it that [offer](super::Node::outputs) outputs.
        place: String,
    },
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Purpose::Exchange => f.write_str("the exchange"),
            Purpose::Output { name, .. } => write!(f, "output `{name}`"),
        }
    }
}

/// What a ticket allows, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The job.
    pub job: String,
    /// Which run of it: its generation.
    pub attempt: u64,
    /// For what.
    pub purpose: Purpose,
    /// Seconds since 1970 after which it is worth nothing.
    pub expires: u64,
}

impl Grant {
    /// A grant for so long from now on.
    pub fn new(job: impl Into<String>, attempt: u64, purpose: Purpose, lasts: Duration) -> Self {
        Grant { job: job.into(), attempt, purpose, expires: now().saturating_add(lasts.as_secs()) }
    }
}

/// The key with which the control plane signs tickets, and with which agents know them. Clones are one key.
#[derive(Clone)]
pub struct TicketKey(Arc<Mutex<Vec<u8>>>);

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(***)")
    }
}

impl TicketKey {
    /// A key of at least 16 bytes.
    ///
    /// # Errors
    /// If it is shorter.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self> {
        let key = TicketKey(Arc::default());
        key.renew(secret)?;
        Ok(key)
    }
    /// Takes another secret, here and in all clones: another server leads, and signs with its own. Tickets of before are worth nothing.
    ///
    /// # Errors
    /// As for [`new`](Self::new); the key stays as it was.
    pub fn renew(&self, secret: impl AsRef<[u8]>) -> Result<()> {
        let secret = secret.as_ref();
        if secret.len() < SHORTEST_KEY {
            return Err(Error::usage(format!("a key for tickets has at least {SHORTEST_KEY} bytes, this one has {}", secret.len())));
        }
        *lock(&self.0) = secret.to_vec();
        Ok(())
    }
    /// A ticket: the hexadecimal digits of an HMAC-SHA256 and of the grant.
    ///
    /// # Errors
    /// If the grant cannot be written.
    pub fn sign(&self, grant: &Grant) -> Result<String> {
        let grant = rmp_serde::to_vec(grant).map_err(|e| Error::internal(format!("a ticket cannot be written: {e}")))?;
        let mut mac = self.mac()?;
        mac.update(&grant);
        let mut text = String::with_capacity(2 * (SIGNATURE + grant.len()));
        for byte in mac.finalize().into_bytes().iter().chain(&grant) {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    }
    /// What a ticket allows.
    ///
    /// # Errors
    /// If it was not signed with this key, or has expired.
    pub fn open(&self, ticket: &str) -> Result<Grant> {
        self.open_at(ticket, now())
    }
    fn open_at(&self, ticket: &str, now: u64) -> Result<Grant> {
        let forged = || Error::usage("the ticket is not signed by this cluster's control plane");
        let bytes = from_hex(ticket).ok_or_else(forged)?;
        let (signature, grant) = bytes.split_at_checked(SIGNATURE).ok_or_else(forged)?;
        let mut mac = self.mac()?;
        mac.update(grant);
        mac.verify_slice(signature).map_err(|_| forged())?;
        let grant: Grant = rmp_serde::from_slice(grant).map_err(|_| forged())?;
        if grant.expires <= now {
            return Err(Error::usage(format!(
                "the ticket for {} of job `{}` expired {} s ago",
                grant.purpose,
                grant.job,
                now - grant.expires
            )));
        }
        Ok(grant)
    }
    fn mac(&self) -> Result<Hmac<Sha256>> {
        Hmac::new_from_slice(&lock(&self.0)).map_err(|e| Error::internal(format!("a key for tickets: {e}")))
    }
}

fn now() -> u64 {
    time_of_day().as_secs()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_says_what_was_granted_and_nothing_else_is_taken() {
        let key = TicketKey::new("a key of sixteen b").unwrap();
        let grant = Grant {
            job: "flights-1".into(),
            attempt: 3,
            purpose: Purpose::Output { name: "daily".into(), place: "/out".into() },
            expires: 1000,
        };
        let ticket = key.sign(&grant).unwrap();
        assert_eq!(key.open_at(&ticket, 999).unwrap(), grant);
        let late = key.open_at(&ticket, 1007).unwrap_err().to_string();
        assert_eq!(late, "the ticket for output `daily` of job `flights-1` expired 7 s ago");
        let other = TicketKey::new("a key of sixteen c").unwrap();
        assert!(other.open_at(&ticket, 0).is_err());
        let clone = other.clone();
        assert!(other.renew("short").is_err() && clone.open_at(&ticket, 0).is_err());
        other.renew("a key of sixteen b").unwrap();
        assert_eq!(clone.open_at(&ticket, 0).unwrap(), grant);
        // every digit counts
        for at in 0..ticket.len() {
            let digit = if ticket.as_bytes().get(at) == Some(&b'0') { "1" } else { "0" };
            let forged = format!("{}{digit}{}", ticket.get(..at).unwrap(), ticket.get(at + 1..).unwrap());
            assert!(key.open_at(&forged, 0).is_err(), "{at}");
        }
        for broken in ["", "zz", "0", ticket.get(..64).unwrap(), ticket.get(..63).unwrap()] {
            assert!(key.open_at(broken, 0).is_err());
        }
        assert!(TicketKey::new("short").is_err());
        assert!(!format!("{key:?}").contains("sixteen"));
    }

    #[test]
    fn a_token_is_one_word() {
        for bad in ["", "two words", "tab\t", "ä"] {
            assert!(Token::new(bad).is_err());
        }
        let token = Token::new("hunter2").unwrap();
        assert!(!format!("{token:?}").contains("hunter2"));
        let mut request = Request::new(());
        assert!(token.check(&request).is_err());
        token.put(&mut request);
        assert!(token.check(&request).is_ok());
        Token::new("hunter").unwrap().put(&mut request);
        assert!(token.check(&request).unwrap_err().message().contains("another token"));
    }
}
