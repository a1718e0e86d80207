//! Certificates and a token, on an address that other machines reach.

use std::net::UdpSocket;

use crate::certificates::Authority;
use crate::kit::{Cluster, port};

/// This machine's address in its network; where it has none, its own.
fn address() -> String {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|s| {
        // nothing is sent: the system only chooses the way
        s.connect("192.0.2.1:9")?;
        s.local_addr()
    });
    asked.map(|a| a.ip().to_string()).ok().filter(|ip| ip != "0.0.0.0").unwrap_or_else(|| "127.0.0.1".to_owned())
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

#[test]
fn certificates_and_a_token() {
    let host = address();
    println!("on {host}");
    let files = tempfile::tempdir().unwrap();
    let dir = files.path();
    let (ours, others) = (Authority::new(), Authority::new());
    std::fs::write(dir.join("token"), "open-sesame\n").unwrap();
    let token = ["--token-file".to_owned(), dir.join("token").display().to_string()].to_vec();
    let trust = ours.trusted(dir, "ours");
    let port = port();
    let listen = ["--listen".to_owned(), format!("0.0.0.0:{port}"), "--advertise".into(), host.clone()].to_vec();
    let server = [listen, ours.signs(dir, "server", &[&host]), trust.clone(), token.clone()].concat();
    let mut cluster = Cluster::at(format!("{host}:{port}"), vec![server]);
    cluster.asking = [token.clone(), trust.clone()].concat();
    cluster.start_server();
    let everywhere = ["--listen".to_owned(), "0.0.0.0:0".into(), "--advertise".into(), host.clone()].to_vec();
    let agent = |name: &str| [everywhere.clone(), ours.signs(dir, name, &[&host]), trust.clone(), token.clone()].concat();
    for name in ["a1", "a2"] {
        cluster.start_agent(name, 2, &words(&agent(name)));
    }
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    let view = cluster.job(&job);
    assert_eq!(view["agents"].as_array().map(Vec::len), Some(2), "{view}");
    cluster.kill_agent("a1");
    cluster.until("the loss is seen", 10, || cluster.agent("a1").is_some_and(|a| a["standing"] == "lost"));
    // the same agent is started again, and takes its part
    cluster.start_agent("a1", 2, &words(&agent("a1")));
    cluster.until_attempt_works(&job, 2, 30);

    // who is not of the cluster
    let stranger = others.signs(dir, "stranger", &[&host]);
    let other_trust = others.trusted(dir, "others");
    let refused = |cluster: &mut Cluster, name: &str, given: &[Vec<String>], why: &str| {
        cluster.spawn_agent(name, 2, &words(&given.concat()));
        assert!(!cluster.agent_ends(name), "it is refused");
        let said = cluster.logs(name);
        assert!(said.contains(why), "{name}: {said}");
    };
    let shows_another = [everywhere.clone(), stranger.clone(), trust.clone(), token.clone()];
    refused(&mut cluster, "shows-another", &shows_another, "does not take the certificate that is shown");
    refused(
        &mut cluster,
        "trusts-another",
        &[everywhere.clone(), ours.signs(dir, "a3", &[&host]), other_trust.clone(), token.clone()],
        "its certificate is not trusted",
    );
    refused(&mut cluster, "shows-none", std::slice::from_ref(&token), "this server speaks TLS: ask https://");
    let plain = [everywhere.clone(), ours.signs(dir, "a4", &[&host]), trust.clone()];
    refused(&mut cluster, "no-token", &plain, "the server wants a token");
    std::fs::write(dir.join("wrong"), "sesame\n").unwrap();
    let wrong = vec!["--token-file".to_owned(), dir.join("wrong").display().to_string()];
    refused(&mut cluster, "wrong-token", &[&plain[..], &[wrong]].concat(), "the token is another than the server's");
    let agents = cluster.json(&["agents"]);
    assert!(agents.as_array().unwrap().iter().all(|a| ["a1", "a2"].contains(&a["name"].as_str().unwrap())), "{agents}");
    assert_eq!(cluster.job(&job)["attempt"], 2, "strangers disturb nothing");
    cluster.end_with_a_whole_ledger(&job);
}
