//! Three network namespaces: of a server, and of two agents, which reach it by a link each, and each other by one of their own.
//!
//! Each lives as long as a process that waits for the end of its input, so nothing is left of them, whatever this process dies of. As another user than
//! root they are in a user namespace, where the system allows it.

use std::process::{Child, Command, Stdio};

/// Where they cannot be had, their tests are skipped; with this variable they fail.
const REQUIRED: &str = "SABOT_REQUIRE_NAMESPACES";

pub(crate) struct Namespaces {
    holders: Vec<Child>,
    root: bool,
}

const NAMES: [&str; 3] = ["server", "a1", "a2"];

impl Namespaces {
    /// Where agents reach the server.
    pub(crate) const SERVER: &'static str = "10.90.1.1";
    /// Where agents reach each other.
    pub(crate) const FIRST: &'static str = "10.90.3.1";
    /// The other one.
    pub(crate) const SECOND: &'static str = "10.90.3.2";

    /// New ones; none where they cannot be had, with the reason printed.
    pub(crate) fn needed() -> Option<Self> {
        match Self::new() {
            Ok(namespaces) => Some(namespaces),
            Err(why) => {
                let required = std::env::var(REQUIRED).is_ok_and(|v| !v.is_empty() && v != "0");
                assert!(!required, "network namespaces are required here: {why}");
                println!("skipped: no network namespaces can be had here: {why}");
                None
            }
        }
    }
    fn new() -> Result<Self, String> {
        let root = said(Command::new("id").arg("-u"))?.trim() == "0";
        let unshare: &[&str] = if root { &["unshare", "--net"] } else { &["unshare", "--map-root-user", "--net"] };
        let mut namespaces = Namespaces { holders: vec![hold(&strings(unshare))?], root };
        for _ in 0..2 {
            // in the user namespace of the first
            let inside = if root { Vec::new() } else { namespaces.enter(0) };
            let new = hold(&[inside, strings(&["unshare", "--net"])].concat())?;
            namespaces.holders.push(new);
        }
        let (first, second) = (namespaces.holders[1].id(), namespaces.holders[2].id());
        let net = |at: usize, line: &str| namespaces.run(at, "ip", line);
        for at in 0..3 {
            net(at, "link set lo up")?;
        }
        net(0, &format!("link add one type veth peer name home netns {first}"))?;
        net(0, &format!("link add two type veth peer name home netns {second}"))?;
        net(1, &format!("link add between type veth peer name between netns {second}"))?;
        for (at, device, address) in [(0, "one", "10.90.1.1"), (1, "home", "10.90.1.2"), (0, "two", "10.90.2.1"), (2, "home", "10.90.2.2")]
        {
            net(at, &format!("address add {address}/24 dev {device}"))?;
            net(at, &format!("link set {device} up"))?;
        }
        net(2, "route add 10.90.1.1 via 10.90.2.1")?;
        for (at, address) in [(1, Self::FIRST), (2, Self::SECOND)] {
            net(at, &format!("address add {address}/24 dev between"))?;
            net(at, "link set between up")?;
        }
        Ok(namespaces)
    }
    /// A command that runs another in a namespace.
    fn enter(&self, at: usize) -> Vec<String> {
        let target = self.holders[at].id().to_string();
        let user: &[&str] = if self.root { &[] } else { &["--user", "--preserve-credentials"] };
        [strings(&["nsenter", "--target", &target, "--net"]), strings(user)].concat()
    }
    /// The same, where the server, an agent or the tool is.
    pub(crate) fn within(&self, name: &str) -> Vec<String> {
        self.enter(NAMES.iter().position(|n| *n == name).unwrap_or(0))
    }
    fn run(&self, at: usize, program: &str, line: &str) -> Result<String, String> {
        let words = [self.enter(at), vec![program.to_owned()], line.split_whitespace().map(str::to_owned).collect()].concat();
        said(Command::new(&words[0]).args(&words[1..]))
    }
    /// Nothing passes between the agents; connections that are there are ended, if the kernel can do that, else they wait.
    pub(crate) fn cut(&self) {
        self.run(1, "ip", "link set between down").unwrap();
        for at in [1, 2] {
            let _ = self.run(at, "ss", "--kill --tcp dst 10.90.3.0/24");
        }
    }
    pub(crate) fn heal(&self) {
        self.run(1, "ip", "link set between up").unwrap();
    }
    /// Makes the way between the agents slow; how.
    pub(crate) fn slow(&self) -> &'static str {
        let set = |how: &str| [1, 2].iter().try_for_each(|at| self.run(*at, "tc", &format!("qdisc add dev between root {how}")).map(drop));
        if set("netem delay 50ms rate 1mbit").is_ok() {
            return "netem";
        }
        // a kernel without it
        set("tbf rate 1mbit burst 4kb latency 2s").unwrap();
        "tbf"
    }
    /// Bytes that one agent has sent to the other.
    pub(crate) fn passed(&self) -> u64 {
        let devices = self.run(1, "cat", "/proc/self/net/dev").unwrap();
        let line = devices.lines().find_map(|l| l.trim().strip_prefix("between:")).unwrap();
        line.split_whitespace().nth(8).unwrap().parse().unwrap()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for child in &mut self.holders {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// A process in what a command makes, that waits for the end of its input.
fn hold(words: &[String]) -> Result<Child, String> {
    // it says a word when it is there
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .args(["sh", "-c", "echo in; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", words.join(" ")))?;
    let mut word = [0; 3];
    if std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).is_err() {
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        return Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(child)
}
/// What a command says, if it succeeds.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
