//! The network between two agents: cut and healed, cut for longer than they wait, slow. Each once in network namespaces, where they can be had, and
//! once through proxies.

use std::time::{Duration, Instant};

use crate::kit::Cluster;
use crate::namespaces::Namespaces;
use crate::proxy::Proxy;

/// What two agents reach each other by.
trait Link {
    /// A cluster whose two agents reach each other by it, and the server otherwise.
    fn cluster(&self) -> Cluster;
    /// Nothing passes, and connections are lost.
    fn cut(&self);
    /// All passes again.
    fn heal(&self);
    /// From now on it is slow.
    fn slow(&self);
    /// Bytes that have passed.
    fn passed(&self) -> u64;
}

/// What agents wait for each other.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster with a job that has taken checkpoints over the link.
fn working(link: &dyn Link) -> (Cluster, String) {
    let cluster = link.cluster();
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    assert_eq!(cluster.job(&job)["agents"].as_array().map(Vec::len), Some(2), "it runs on both agents");
    assert!(link.passed() > 0, "its rows go over the link");
    (cluster, job)
}

fn cut_and_healed(link: &dyn Link) {
    let (cluster, job) = working(link);
    for seconds in [1, 4] {
        link.cut();
        let passed = link.passed();
        std::thread::sleep(Duration::from_secs(seconds));
        assert!(link.passed() < passed + 1000, "the link is cut");
        link.heal();
        let healed = Instant::now();
        cluster.another_checkpoint(&job);
        println!("cut for {seconds} s: the next checkpoint came {} ms after it was healed", healed.elapsed().as_millis());
    }
    assert_eq!(cluster.job(&job)["attempt"], 1, "the attempt goes on: {}", cluster.job(&job)["history"]);
    cluster.end_with_a_whole_ledger(&job);
}

fn cut_for_longer(link: &dyn Link) {
    let (cluster, job) = working(link);
    let cut = Instant::now();
    link.cut();
    cluster.until("the attempt is given up", 40, || cluster.job(&job)["restarts"].as_u64() > Some(0));
    println!("cut for longer: given up after {} ms", cut.elapsed().as_millis());
    assert!(cut.elapsed() > PATIENCE - Duration::from_secs(1), "{:?}", cut.elapsed());
    let history = cluster.job(&job)["history"].to_string();
    assert!(history.contains("agent `a"), "it names the agent that could not be reached: {history}");
    link.heal();
    cluster.until_attempt_works(&job, 2, 40);
    cluster.end_with_a_whole_ledger(&job);
}

fn slow(link: &dyn Link) {
    let cluster = link.cluster();
    link.slow();
    let began = Instant::now();
    let job = cluster.submit_ledger("ledger", 4, &[]);
    (0..3).for_each(|_| cluster.another_checkpoint(&job));
    println!("slow: {} bytes and 3 checkpoints in {} ms", link.passed(), began.elapsed().as_millis());
    assert_eq!(cluster.job(&job)["attempt"], 1, "slow is no failure: {}", cluster.job(&job)["history"]);
    cluster.end_with_a_whole_ledger(&job);
}

/// A proxy before each agent.
struct Proxies {
    agents: [u16; 2],
    proxies: [Proxy; 2],
}
impl Proxies {
    fn new() -> Self {
        let agents = [crate::kit::port(), crate::kit::port()];
        Proxies { agents, proxies: agents.map(|port| Proxy::new(([127, 0, 0, 1], port).into())) }
    }
}
impl Link for Proxies {
    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::start(0, 0);
        for (name, (port, proxy)) in ["a1", "a2"].into_iter().zip(self.agents.iter().zip(&self.proxies)) {
            cluster.start_agent(name, 2, &["--listen", &format!("127.0.0.1:{port}"), "--advertise", &proxy.address()]);
        }
        cluster
    }
    fn cut(&self) {
        self.proxies.iter().for_each(|p| p.down(true));
    }
    fn heal(&self) {
        self.proxies.iter().for_each(|p| p.down(false));
    }
    fn slow(&self) {
        // less than a hundredth of what a local network carries
        self.proxies.iter().for_each(|p| p.rate(100_000));
    }
    fn passed(&self) -> u64 {
        self.proxies.iter().map(Proxy::passed).sum()
    }
}

impl Link for Namespaces {
    fn cluster(&self) -> Cluster {
        let server = ["--listen", "0.0.0.0:7480", "--control", "0.0.0.0:7481", "--advertise", Namespaces::SERVER, "--insecure"];
        let mut cluster = Cluster::at(format!("{}:7480", Namespaces::SERVER), vec![server.map(str::to_owned).to_vec()]);
        for name in ["server", "tool", "a1", "a2"] {
            cluster.within.insert(name.into(), self.within(name));
        }
        cluster.start_server();
        for (name, address) in [("a1", Namespaces::FIRST), ("a2", Namespaces::SECOND)] {
            cluster.start_agent(name, 2, &["--listen", &format!("{address}:7482"), "--insecure"]);
        }
        cluster
    }
    fn cut(&self) {
        Namespaces::cut(self);
    }
    fn heal(&self) {
        Namespaces::heal(self);
    }
    fn slow(&self) {
        println!("slow by {}", Namespaces::slow(self));
    }
    fn passed(&self) -> u64 {
        Namespaces::passed(self)
    }
}

/// Each case over each kind of link.
macro_rules! cases {
    ($($case:ident,)+) => {
        mod through_proxies {
            $(#[test]
            fn $case() {
                super::$case(&super::Proxies::new());
            })+
        }
        mod in_namespaces {
            $(#[test]
            fn $case() {
                if let Some(namespaces) = crate::namespaces::Namespaces::needed() {
                    super::$case(&namespaces);
                }
            })+
        }
    };
}
cases! { cut_and_healed, cut_for_longer, slow, }
