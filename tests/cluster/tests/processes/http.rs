//! HTTP as any program speaks it, and a wire that is listened to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
    /// The sentence of a refusal, which is JSON as everything else.
    pub(crate) fn error(&self) -> String {
        assert!(self.headers.contains("content-type: application/json"), "{self:?}");
        let json = self.json();
        let error = json["error"].as_str().unwrap_or_default();
        assert!(json.as_object().map(|o| o.len()) == Some(1) && !error.is_empty(), "{self:?}");
        error.to_owned()
    }
}

/// One request over a connection of its own.
pub(crate) fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        head += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).unwrap();
    // one that refuses may not read it all
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (headers, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = headers.to_lowercase();
    let body = if headers.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        out += &rest[..size];
        body = &rest[size + 2..];
    }
    out
}

/// A wire to an address, on which somebody listens.
pub(crate) struct Wire {
    pub(crate) address: String,
    heard: Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>,
}

impl Wire {
    pub(crate) fn to(address: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire { address: listener.local_addr().unwrap().to_string(), heard: Arc::default() };
        let (heard, address) = (Arc::clone(&wire.heard), address.to_owned());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&address) else { continue };
                for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    let said = Arc::new(Mutex::new(Vec::new()));
                    heard.lock().unwrap().push(Arc::clone(&said));
                    std::thread::spawn(move || passed(from, to, &said));
                }
            }
        });
        wire
    }
    /// What went over each connection in each direction, in their order.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().iter().map(|said| said.lock().unwrap().clone()).collect()
    }
}

fn passed(mut from: TcpStream, mut to: TcpStream, said: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 8192];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        said.lock().unwrap().extend_from_slice(&bytes[..n]);
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
