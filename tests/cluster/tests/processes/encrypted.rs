//! The API over TLS: what crosses the network, and who is let in.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::certificates::Authority;
use crate::http::{Wire, ask};
use crate::kit::TOOL;

const TOKEN: &str = "open-sesame-and-nothing-else";

/// Writes an authority, and a certificate of it with its key, under a name.
fn certify(dir: &Path, name: &str) {
    let authority = Authority::new();
    authority.trusted(dir, name);
    authority.signs(dir, name, &["127.0.0.1", "localhost"]);
}

/// Processes that end with the test.
pub(crate) struct Ended(pub(crate) Vec<Child>);
impl Drop for Ended {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn spawn(dir: &Path, args: &[&str], log: &str) -> Child {
    let log = std::fs::File::create(dir.join(log)).unwrap();
    Command::new(TOOL).args(args).current_dir(dir).env_remove("SABOT_TOKEN").stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Starts a server at some port; where that is.
fn server(dir: &Path, name: &str, more: &[&str], ended: &mut Ended) -> String {
    let log = format!("{name}.log");
    let args = ["server", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--dir", name];
    ended.0.push(spawn(dir, &[&args[..], more].concat(), &log));
    let said = || std::fs::read_to_string(dir.join(&log)).unwrap_or_default();
    let address = || Some(said().split_once("server at https://")?.1.split_once(", agents")?.0.to_owned());
    let began = Instant::now();
    loop {
        if let Some(address) = address() {
            return address;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no server at https://..: {}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tool(dir: &Path, args: &[&str]) -> Output {
    Command::new(TOOL).args(args).current_dir(dir).env_remove("SABOT_TOKEN").env_remove("SABOT_TLS_CA").output().unwrap()
}
fn refusal(dir: &Path, args: &[&str]) -> String {
    let output = tool(dir, args);
    assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
fn until(what: &str, dir: &Path, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        let logs: String = ["one.log", "agent.log"].iter().map(|l| std::fs::read_to_string(dir.join(l)).unwrap_or_default()).collect();
        assert!(began.elapsed() < Duration::from_secs(60), "not so: {what}: {logs}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const OURS: [&str; 6] = ["--tls-cert", "ours-cert.pem", "--tls-key", "ours-key.pem", "--tls-ca", "ours-ca.pem"];

#[test]
fn with_certificates_nothing_crosses_the_network_in_clear() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    certify(dir, "ours");
    certify(dir, "others");
    std::fs::write(dir.join("token"), TOKEN).unwrap();
    let mut ended = Ended(Vec::new());
    let token = ["--token-file", "token"];
    let address = server(dir, "one", &[&token[..], &OURS].concat(), &mut ended);
    let wire = Wire::to(&address);
    // the agent takes the key of tickets from the API, over the wire
    let join = ["agent", "--join", &wire.address, "--name", "a", "--slots", "2"];
    ended.0.push(spawn(dir, &[&join[..], &token, &OURS].concat(), "agent.log"));
    let asking = ["--server", &wire.address, "--token-file", "token", "--tls-ca", "ours-ca.pem"];
    let ask_tool = |args: &[&str]| -> Value {
        let output = tool(dir, &[args, &asking, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    until("the agent has joined", dir, || ask_tool(&["agents"]).as_array().unwrap().iter().any(|a| a["standing"] == "alive"));
    let job = ask_tool(&["submit", "totals", "--rows", "1000", "--sink", "totals=t.csv", "--parallelism", "2", "--wait"]);
    assert_eq!(job["state"], "finished");
    let heard = wire.heard();
    assert!(heard.len() > 6);
    for said in heard {
        // a handshake of TLS begins so
        assert!(said.is_empty() || said[0] == 0x16, "{:?}", String::from_utf8_lossy(&said[..said.len().min(60)]));
        for word in [TOKEN, "ticket_key", "Bearer", "HTTP/1.1"] {
            assert!(!said.windows(word.len()).any(|w| w == word.as_bytes()), "`{word}` crossed the network");
        }
    }
    // the scheme may be written, and the variable names the authority
    let url = format!("https://{address}");
    let shown = Command::new(TOOL)
        .args(["agents", "--server", &url, "--token-file", "token"])
        .env("SABOT_TLS_CA", "ours-ca.pem")
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    // a certificate is no token
    let said = refusal(dir, &[&["agents", "--server", &address], &OURS[..]].concat());
    assert!(said.contains("the server wants a token"), "{said}");
    // in plain text; without an authority; another authority, on either end; a name that is not in the certificate
    let plain = refusal(dir, &["agents", "--server", &address, "--token-file", "token"]);
    assert!(plain.contains("this server speaks TLS: ask https://"), "{plain}");
    let answer = ask(&address, "GET", "/v1/server", &[("authorization", &format!("Bearer {TOKEN}"))], "");
    assert!(answer.status == 400 && answer.error().contains("speaks TLS"), "{answer:?}");
    let said = refusal(dir, &["agents", "--server", &url, "--token-file", "token"]);
    assert!(said.contains("say which authority has signed its certificate: `--tls-ca FILE`"), "{said}");
    let said = refusal(dir, &["agents", "--server", &address, "--token-file", "token", "--tls-ca", "others-ca.pem"]);
    assert!(said.contains("its certificate is not trusted") && said.contains("`--tls-ca` names the authority"), "{said}");
    let others = ["--tls-ca", "ours-ca.pem", "--tls-cert", "others-cert.pem", "--tls-key", "others-key.pem"];
    let said = refusal(dir, &[&["agents", "--server", &address, "--token-file", "token"], &others[..]].concat());
    assert!(said.contains("does not take the certificate that is shown"), "{said}");
    let port = address.rsplit(':').next().unwrap();
    let said = refusal(dir, &["agents", "--server", &format!("127.0.0.2:{port}"), "--token-file", "token", "--tls-ca", "ours-ca.pem"]);
    assert!(said.contains("is not trusted") || said.contains("cannot reach"), "{said}");
    // one that says nothing holds up no other
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    assert!(ask_tool(&["agents"]).is_array());
    drop(silent);
}

#[test]
fn without_a_token_a_certificate_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    certify(dir, "ours");
    let mut ended = Ended(Vec::new());
    let address = server(dir, "one", &OURS, &mut ended);
    assert!(tool(dir, &[&["agents", "--server", &address], &OURS[..]].concat()).status.success());
    let said = refusal(dir, &["agents", "--server", &address, "--tls-ca", "ours-ca.pem"]);
    assert!(said.contains("wants a certificate: show one of its authority, `--tls-cert FILE`"), "{said}");
    // beyond this machine both are asked for
    std::fs::write(dir.join("token"), TOKEN).unwrap();
    let said = refusal(dir, &["server", "--listen", "0.0.0.0:0", "--dir", "two", "--token-file", "token"]);
    assert!(said.contains("that needs certificates (`--tls-cert`, `--tls-key`, `--tls-ca`)"), "{said}");
    let said = refusal(dir, &[&["server", "--listen", "0.0.0.0:0", "--dir", "two"], &OURS[..]].concat());
    assert!(said.contains("that needs a token (`--token-file`)"), "{said}");
    let said = refusal(dir, &["agents", "--server", "127.0.0.1:9", "--tls-cert", "ours-cert.pem", "--tls-key", "ours-key.pem"]);
    assert!(said.contains("name its authority too, `--tls-ca FILE`"), "{said}");
}
