//! A language client: as much of the protocol as it takes to open a file, change it and ask.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// The language server of the pinned toolchain, and the toolchain it belongs to.
pub(crate) struct Server {
    pub(crate) program: PathBuf,
    pub(crate) sysroot: Option<PathBuf>,
    /// Source of the standard library outside of the toolchain.
    pub(crate) src: Option<PathBuf>,
}

impl Server {
    /// `RUST_ANALYZER`, or rustup's component, or what is in the path.
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub(crate) fn find() -> Result<Server, String> {
        let line = |program: &str, args: &[&str]| {
            let out = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
            Some(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))
        };
        let program = std::env::var_os("RUST_ANALYZER")
            .map(PathBuf::from)
            .or_else(|| line("rustup", &["which", "rust-analyzer"]))
            .unwrap_or_else(|| "rust-analyzer".into());
        if line(&program.to_string_lossy(), &["--version"]).is_none() {
            return Err(format!(
                "`{}` does not run: `rustup component add rust-analyzer rust-src`, or set RUST_ANALYZER",
                program.display()
            ));
        }
        if let Some(src) = std::env::var_os("RUST_SRC").map(PathBuf::from) {
            if !src.join("core").is_dir() {
                return Err(format!("RUST_SRC is `{}`, which is not the source of the standard library", src.display()));
            }
            return Ok(Server { program, sysroot: None, src: Some(src) });
        }
        let own = program.parent().and_then(Path::parent).map(Path::to_owned);
        let has_src = |p: &PathBuf| p.join("lib/rustlib/src/rust/library/core").is_dir();
        let sysroot = own.into_iter().chain(line("rustc", &["--print", "sysroot"])).find(has_src);
        if sysroot.is_none() {
            return Err("the toolchain has no `rust-src`: `rustup component add rust-src`, or set RUST_SRC to its `library`".to_owned());
        }
        Ok(Server { program, sysroot, src: None })
    }
}

/// A running server with one open file.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Json>,
    next: i64,
    version: i64,
    uri: String,
}

impl Client {
    /// Starts the server on the package at `root` and opens `file` of it.
    pub(crate) fn start(server: &Server, root: &Path, file: &Path, options: Json) -> Client {
        let mut command = Command::new(&server.program);
        command.current_dir(root).env("RA_LOG", "error").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // cargo sets these for its tests; the server runs a cargo of its own
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUSTUP_TOOLCHAIN", "RUSTC", "CARGO"] {
            command.env_remove(name);
        }
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = read(&mut output) {
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let uri = format!("file://{}", file.display());
        let mut client = Client { child, input, messages, next: 0, version: 1, uri };
        client.ask(
            "initialize",
            json!({
                "processId": std::process::id(),
                "rootUri": format!("file://{}", root.display()),
                "capabilities": {
                    "textDocument": { "completion": { "completionItem": { "snippetSupport": false } }, "hover": { "contentFormat": ["plaintext"] } },
                    "experimental": { "serverStatusNotification": true },
                },
                "initializationOptions": options,
            }),
        );
        client.tell("initialized", json!({}));
        let text = std::fs::read_to_string(file).unwrap();
        let document = json!({ "uri": client.uri, "languageId": "rust", "version": 1, "text": text });
        client.tell("textDocument/didOpen", json!({ "textDocument": document }));
        client
    }

    /// Waits until the server has loaded everything; what it says of its health.
    pub(crate) fn settle(&mut self, limit: Duration) -> Result<String, String> {
        let end = Instant::now() + limit;
        let mut last = String::from("it said nothing");
        while let Some(message) = self.receive(end) {
            if message["method"] == "experimental/serverStatus" {
                let status = &message["params"];
                last = format!("{} {}", status["health"].as_str().unwrap_or(""), status["message"].as_str().unwrap_or(""));
                if status["quiescent"] == true {
                    return Ok(last);
                }
            }
        }
        Err(format!("the server did not settle within {limit:?}; last: {last}"))
    }

    /// Replaces the text of the file.
    pub(crate) fn change(&mut self, text: &str) {
        self.version += 1;
        let document = json!({ "uri": self.uri, "version": self.version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [{ "text": text }] }));
    }

    /// Asks about a place in the file.
    pub(crate) fn at(&mut self, method: &str, text: &str, offset: usize) -> Json {
        let before = &text[..offset];
        let line = before.matches('\n').count();
        let character = before.len() - before.rfind('\n').map_or(0, |n| n + 1);
        let params = json!({ "textDocument": { "uri": self.uri }, "position": { "line": line, "character": character } });
        // a change may cancel what is being computed
        for _ in 0..5 {
            let answer = self.ask(method, params.clone());
            if answer.get("error").is_none() {
                return answer["result"].clone();
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        Json::Null
    }

    fn ask(&mut self, method: &str, params: Json) -> Json {
        self.next += 1;
        let id = self.next;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let end = Instant::now() + Duration::from_secs(60);
        while let Some(message) = self.receive(end) {
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
        json!({ "error": "no answer" })
    }

    fn tell(&mut self, method: &str, params: Json) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The next message; questions of the server are answered here.
    fn receive(&mut self, end: Instant) -> Option<Json> {
        let message = self.messages.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
        if let (Some(id), Some(_)) = (message.get("id"), message.get("method")) {
            let id = id.clone();
            self.write(&json!({ "jsonrpc": "2.0", "id": id, "result": null }));
        }
        Some(message)
    }

    fn write(&mut self, message: &Json) {
        let text = message.to_string();
        let _ = write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).and_then(|()| self.input.flush());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: &mut impl BufRead) -> Option<Json> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim() {
            "" => break,
            header => {
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
