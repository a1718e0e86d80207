//! Who is let in, control streams, and outputs for any Flight client.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, FlightDescriptor, Ticket};
use futures_util::{StreamExt, TryStreamExt};
use tonic::{Code, Request, Status};

use super::super::*;
use super::share::{KEY, node, peer, runtime};
use crate::Result;

const SOON: Duration = Duration::from_secs(5);

fn batch(rows: i64) -> RecordBatch {
    let text = (0..rows).map(|i| Some(format!("the number {i} as a text that is long"))).collect::<StringViewArray>();
    let columns: Vec<(&str, ArrayRef)> = vec![("n", Arc::new((0..rows).collect::<Int64Array>())), ("t", Arc::new(text))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn echo(node: &Node) {
    node.frames("echo", |mut call: Call| {
        tokio::spawn(async move {
            call.frames.sender.send(call.hello.clone()).unwrap();
            while let Ok(Some(frame)) = call.frames.receiver.next().await {
                call.frames.sender.send(frame).unwrap();
            }
        });
    });
}

async fn ask(peer: &Peer) -> Result<Vec<u8>> {
    let mut frames = peer.frames("echo", b"hello".to_vec()).await?;
    Ok(frames.receiver.next().await?.unwrap_or_default().to_vec())
}

#[test]
fn frames_of_any_size_go_both_ways_until_one_end_is_done() {
    let runtime = runtime();
    let node = node(&runtime);
    echo(&node);
    let peer = peer("the server", &node.address().to_string(), SOON, &runtime);
    runtime.block_on(async {
        let mut frames = peer.frames("echo", b"hello".to_vec()).await.unwrap();
        assert_eq!(frames.receiver.next().await.unwrap().unwrap(), b"hello".as_slice());
        for size in [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
            let frame: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
            frames.sender.send(frame.clone()).unwrap();
            assert!(frames.receiver.next().await.unwrap().unwrap() == frame, "{size}");
        }
        drop(frames.sender);
        assert!(frames.receiver.next().await.unwrap().is_none());
        let unknown = peer.frames("nobody", Vec::new()).await.unwrap_err().to_string();
        assert!(
            unknown.contains("the server at 127.0.0.1:") && unknown.contains("nothing here answers control streams `nobody`"),
            "{unknown}"
        );
        // a node that stops ends the stream, and takes no calls
        let mut frames = peer.frames("echo", Vec::new()).await.unwrap();
        frames.receiver.next().await.unwrap();
        node.stop();
        let end = tokio::time::timeout(Duration::from_secs(20), frames.receiver.next()).await.unwrap();
        assert!(!matches!(end, Ok(Some(_))));
        assert!(ask(&peer).await.is_err());
    });
}

#[test]
fn a_call_without_the_token_is_refused() {
    let runtime = runtime();
    let node = node(&runtime);
    echo(&node);
    let with = |token: Option<&str>| {
        let options = PeerOptions { token: token.map(|t| Token::new(t).unwrap()), patience: SOON, ..PeerOptions::default() };
        Peer::new("the server", &node.address().to_string(), &options, runtime.handle()).unwrap()
    };
    runtime.block_on(async {
        assert_eq!(ask(&with(Some("hunter2"))).await.unwrap(), b"hello");
        let none = ask(&with(None)).await.unwrap_err().to_string();
        assert!(none.contains("this call has no token"), "{none}");
        for wrong in ["hunter", "hunter22", "Hunter2"] {
            let told = ask(&with(Some(wrong))).await.unwrap_err().to_string();
            assert!(told.contains("another token than this process was started with"), "{told}");
        }
        // all calls, not only this one
        let mut client = client(&node).await;
        let ticket = Ticket { ticket: "00".into() };
        assert_eq!(client.do_get(ticket).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(client.do_action(Action::new("x", "")).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(client.list_flights(Criteria::default()).await.unwrap_err().code(), Code::Unauthenticated);
        let mut request = Request::new(FlightDescriptor::new_cmd("x"));
        Token::new("hunter2").unwrap().put(&mut request);
        let told = client.get_flight_info(request).await.unwrap_err();
        assert!(told.code() == Code::Unimplemented && told.message().contains("GetFlightInfo is not served here"), "{told}");
    });
}

async fn client(node: &Node) -> FlightServiceClient<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", node.address())).unwrap();
    FlightServiceClient::new(endpoint.connect().await.unwrap())
}

async fn read(node: &Node, ticket: &str) -> std::result::Result<Vec<RecordBatch>, Status> {
    let mut client = client(node).await;
    let mut request = Request::new(Ticket { ticket: ticket.to_owned().into() });
    Token::new("hunter2").unwrap().put(&mut request);
    let stream = client.do_get(request).await?.into_inner();
    let batches = FlightRecordBatchStream::new_from_flight_data(stream.map_err(|s| FlightError::Tonic(Box::new(s))));
    batches.map(|b| b.map_err(|e| Status::internal(e.to_string()))).try_collect().await
}

#[test]
fn an_output_is_read_by_whoever_has_its_ticket() {
    let runtime = runtime();
    let node = node(&runtime);
    let rows = batch(100_000);
    let key = TicketKey::new(KEY).unwrap();
    let grant = |attempt, name: &str| Grant::new("job", attempt, output(name), Duration::from_secs(60));
    runtime.block_on(async {
        let (code, told) =
            read(&node, &key.sign(&grant(3, "daily")).unwrap()).await.map_err(|s| (s.code(), s.message().to_owned())).unwrap_err();
        assert!(code == Code::NotFound && told == "this process offers no outputs", "{told}");
        offer(&node, &[("daily", &[rows.slice(0, 5), rows.slice(5, 99_995)]), ("none", &[rows.slice(0, 0)])]);
        let daily = key.sign(&grant(3, "daily")).unwrap();
        let got = read(&node, &daily).await.unwrap();
        assert!(got.len() > 10, "messages are small: {}", got.len());
        assert_eq!(arrow_select::concat::concat_batches(&rows.schema(), &got).unwrap(), rows);
        assert!(read(&node, &key.sign(&grant(3, "none")).unwrap()).await.unwrap().is_empty());

        let refused = async |ticket: String| {
            let status = read(&node, &ticket).await.unwrap_err();
            (status.code(), status.message().to_owned())
        };
        let other = TicketKey::new("another key of these tests").unwrap();
        let (code, told) = refused(other.sign(&grant(3, "daily")).unwrap()).await;
        assert!(code == Code::PermissionDenied && told.contains("not signed by this cluster's control plane"), "{told}");
        let (code, told) = refused("no ticket at all".into()).await;
        assert!(code == Code::PermissionDenied && told.contains("not signed"), "{told}");
        let expired = Grant { expires: 1, ..grant(3, "daily") };
        let (code, told) = refused(key.sign(&expired).unwrap()).await;
        assert!(code == Code::PermissionDenied && told.contains("the ticket for output `daily` of job `job` expired"), "{told}");
        let exchange = Grant { purpose: Purpose::Exchange, ..grant(3, "daily") };
        let (code, told) = refused(key.sign(&exchange).unwrap()).await;
        assert!(code == Code::PermissionDenied && told.contains("not for an output"), "{told}");
        let (code, told) = refused(key.sign(&grant(3, "weekly")).unwrap()).await;
        assert!(code == Code::NotFound && told.contains("weekly: is not here"), "{told}");
        // the same by our own client
        let peer = peer("agent `a`", &node.address().to_string(), SOON, &runtime);
        let (mut reader, columns) = peer.output(&daily).await.unwrap();
        assert_eq!(columns, rows.schema());
        let mut got = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            got.push(batch);
        }
        assert_eq!(arrow_select::concat::concat_batches(&columns, &got).unwrap(), rows);
        let (mut reader, columns) = peer.output(&key.sign(&grant(3, "none")).unwrap()).await.unwrap();
        assert!(columns == rows.schema() && reader.next().await.unwrap().is_none());
        let told = peer.output(&key.sign(&expired).unwrap()).await.unwrap_err().to_string();
        assert!(told.contains("agent `a` at 127.0.0.1:") && told.contains("cannot read the output") && told.contains("expired"), "{told}");
    });
}

fn output(name: &str) -> Purpose {
    Purpose::Output { name: name.into(), place: format!("the place of {name}") }
}

/// Offers these rows: of each output at least one batch, for its columns.
fn offer(node: &Node, outputs: &[(&str, &[RecordBatch])]) {
    let outputs: Vec<(String, Vec<RecordBatch>)> = outputs.iter().map(|(n, b)| ((*n).to_owned(), b.to_vec())).collect();
    node.outputs(move |grant| {
        let Purpose::Output { name, place } = &grant.purpose else { unreachable!() };
        assert_eq!(*place, format!("the place of {name}"));
        let gone = || crate::Error::io(name, "is not here", std::io::ErrorKind::NotFound.into());
        let batches = &outputs.iter().find(|(n, _)| n == name).ok_or_else(gone)?.1;
        Ok(Output { schema: batches[0].schema(), rows: Box::new(batches.clone().into_iter().map(Ok)) })
    });
}

#[test]
fn an_output_that_breaks_does_not_end_as_if_it_were_whole() {
    let runtime = runtime();
    let node = node(&runtime);
    node.outputs(|grant| {
        let Purpose::Output { name, .. } = &grant.purpose else { unreachable!() };
        let (rows, name) = (batch(10), name.clone());
        let broken = move || match name.as_str() {
            "panics" => panic!("reading panics"),
            _ => Some(Err(crate::Error::Data { place: "part-00000002.parquet".into(), what: "broken".into() })),
        };
        let batches = std::iter::once(Ok(rows.clone())).chain(std::iter::from_fn(broken));
        Ok(Output { schema: rows.schema(), rows: Box::new(batches) })
    });
    let key = TicketKey::new(KEY).unwrap();
    let sign = |name| key.sign(&Grant::new("job", 1, output(name), Duration::from_secs(60))).unwrap();
    runtime.block_on(async {
        let told = read(&node, &sign("fails")).await.unwrap_err().to_string();
        assert!(told.contains("part-00000002.parquet: broken"), "{told}");
        let told = read(&node, &sign("panics")).await.unwrap_err().to_string();
        assert!(told.contains("the rows end early"), "{told}");
    });
}

#[test]
fn readers_are_few_and_make_room_when_they_go() {
    let runtime = runtime();
    let node = node(&runtime);
    offer(&node, &[("daily", &[batch(1_000_000)])]);
    let ticket = TicketKey::new(KEY).unwrap().sign(&Grant::new("job", 1, output("daily"), Duration::from_secs(60))).unwrap();
    let peer = peer("agent `a`", &node.address().to_string(), SOON, &runtime);
    runtime.block_on(async {
        // they take the columns, and then nothing more than the connection holds
        let mut readers = Vec::new();
        for _ in 0..super::super::outputs::READERS {
            readers.push(peer.output(&ticket).await.unwrap());
        }
        let told = peer.output(&ticket).await.unwrap_err().to_string();
        assert!(told.contains("16 readers read outputs here already"), "{told}");
        drop(readers.pop());
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while peer.output(&ticket).await.is_err() {
            assert!(std::time::Instant::now() < deadline, "a reader that is gone still counts");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // a node that stops ends what is read with an error
        let (mut reader, _) = readers.pop().unwrap();
        node.stop();
        let end = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(end.is_err(), "{end:?}");
    });
}

#[test]
fn an_exchange_needs_a_ticket_of_its_own_attempt() {
    use super::share::{Side, link};
    use crate::shuffle::Carrier;

    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let there = [link(4, 0, 0)];
    let other = |name, node: &Node| peer(name, &node.address().to_string(), SOON, &runtime);
    let _two = Side::new(&b, 1, 1, other("agent a", &a), &[], &there, 1000);
    let key = TicketKey::new(KEY).unwrap();
    let grant = |attempt, purpose| Grant::new("job", attempt, purpose, Duration::from_secs(60));
    let cases = [
        (String::from("none"), "not signed by"),
        (key.sign(&Grant { expires: 5, ..grant(1, Purpose::Exchange) }).unwrap(), "expired"),
        (key.sign(&grant(2, Purpose::Exchange)).unwrap(), "the ticket is for the exchange of job `job`, attempt 2"),
        (key.sign(&grant(1, output("x"))).unwrap(), "the ticket is for output `x`"),
    ];
    for (ticket, expected) in cases {
        let options = CarrierOptions {
            node: a.clone(),
            job: "job".into(),
            generation: 1,
            me: 0,
            peers: vec![None, Some(other("agent b", &b))],
            ticket,
        };
        let carrier = FlightCarrier::new(options);
        let host = Arc::new(super::share::Watcher::default());
        let channel = Arc::new(crate::shuffle::Channel::new(0, 0, 1000));
        let outgoing = vec![crate::shuffle::Remote { link: there[0], peer: 1, channel }];
        carrier.start(crate::shuffle::Links { outgoing, incoming: Vec::new(), host: Arc::clone(&host) as _ }).unwrap();
        carrier.begin();
        let told = carrier.stop(true).unwrap_err().to_string();
        assert!(told.contains(expected) && told.contains("agent b at 127.0.0.1:"), "{told}");
        assert_eq!(host.failures.lock().unwrap().len(), 1);
    }
}

/// An authority, and what it signs.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Authority(rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }
    fn signs(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
    fn tls(&self, name: &str, trusts: &Authority) -> Tls {
        let (certificate, key) = self.signs(name);
        Tls::new(certificate, key, trusts.0.pem())
    }
}

#[test]
fn without_a_certificate_of_the_authority_nobody_is_let_in() {
    let runtime = runtime();
    let (ours, others) = (Authority::new(), Authority::new());
    let options =
        NodeOptions { tls: Some(ours.tls("sabot.test", &ours)), token: Some(Token::new("hunter2").unwrap()), ..NodeOptions::default() };
    let node = Node::start(&options, runtime.handle()).unwrap();
    echo(&node);
    let with = |tls: Option<Tls>, domain: &str| {
        let token = Some(Token::new("hunter2").unwrap());
        let options = PeerOptions { tls, token, domain: Some(domain.to_owned()), patience: Duration::from_secs(2) };
        Peer::new("the server", &node.address().to_string(), &options, runtime.handle()).unwrap()
    };
    runtime.block_on(async {
        assert_eq!(ask(&with(Some(ours.tls("agent.test", &ours)), "sabot.test")).await.unwrap(), b"hello");
        // one of another authority; in plain text; a server of another name; a server of an authority that is not trusted
        for peer in [
            with(Some(others.tls("agent.test", &ours)), "sabot.test"),
            with(None, "sabot.test"),
            with(Some(ours.tls("agent.test", &ours)), "other.test"),
            with(Some(ours.tls("agent.test", &others)), "sabot.test"),
        ] {
            let told = ask(&peer).await.unwrap_err().to_string();
            assert!(told.contains("the server at 127.0.0.1:"), "{told}");
        }
        // no certificate at all
        let plain = tonic::transport::ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(ours.0.pem()))
            .domain_name("sabot.test");
        let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{}", node.address())).unwrap().tls_config(plain).unwrap();
        let refused = match endpoint.connect().await {
            Err(_) => true,
            Ok(channel) => {
                let mut request = Request::new(Ticket { ticket: "00".into() });
                Token::new("hunter2").unwrap().put(&mut request);
                let status = FlightServiceClient::new(channel).do_get(request).await.unwrap_err();
                // not from the service, which has no key for tickets
                !matches!(status.code(), Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated)
            }
        };
        assert!(refused);
    });
}

#[test]
fn nothing_listens_beyond_this_machine_unless_told() {
    let runtime = runtime();
    let listen = "0.0.0.0:0".parse().unwrap();
    let token = || Some(Token::new("hunter2").unwrap());
    let authority = Authority::new();
    let tls = || Some(authority.tls("sabot.test", &authority));
    let start = |token, tls, insecure| Node::start(&NodeOptions { listen, token, tls, insecure, tickets: None }, runtime.handle());
    for (token, tls, missing) in [(None, None, "--token"), (None, tls(), "--token"), (token(), None, "--tls-cert")] {
        let told = start(token, tls, false).unwrap_err().to_string();
        assert!(
            told.contains("0.0.0.0:0 can be reached from other machines") && told.contains(missing) && told.contains("--insecure"),
            "{told}"
        );
    }
    assert!(start(token(), tls(), false).is_ok());
    assert!(start(None, None, true).is_ok());
    assert!(NodeOptions::default().listen.ip().is_loopback());
}

/// A Python with `pyarrow`, or why there is none.
fn python() -> std::result::Result<std::path::PathBuf, String> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/services/python.sh");
    let output = std::process::Command::new(&script).arg("pyarrow==26.0.1").output().map_err(|e| format!("{}: {e}", script.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.trim().lines().last().unwrap_or_default();
    if output.status.success() { Ok(std::path::Path::new(last).join("bin/python")) } else { Err(last.to_owned()) }
}

#[test]
fn pyarrow_reads_an_output() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            assert!(std::env::var_os("SABOT_REQUIRE_SERVICES").is_none(), "{why}");
            return eprintln!("skipped: {why}");
        }
    };
    let runtime = runtime();
    let node = node(&runtime);
    let rows = batch(50_000);
    offer(&node, &[("daily", &[rows])]);
    let ticket = TicketKey::new(KEY).unwrap().sign(&Grant::new("job", 1, output("daily"), Duration::from_secs(600))).unwrap();
    let script = r#"
import sys, pyarrow.flight as flight
address, token, ticket = sys.argv[1:]
client = flight.connect(f"grpc://{address}")
options = flight.FlightCallOptions(headers=[(b"authorization", f"Bearer {token}".encode())])
table = client.do_get(flight.Ticket(ticket), options).read_all()
assert table["n"].to_pylist() == list(range(50_000))
assert table["t"][-1].as_py() == "the number 49999 as a text that is long"
try:
    client.do_get(flight.Ticket(ticket)).read_all()
except flight.FlightUnauthenticatedError as e:
    print(table.num_rows, "rows;", "no token" in str(e))
"#;
    let output = std::process::Command::new(python).args(["-c", script, &node.address().to_string(), "hunter2", &ticket]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.trim(), "50000 rows; True");
}
