//! Calls of a service: each visit is looked up by its address, 64 calls at once, in order.
//!
//! `geo` is an ordinary `async fn`. In a program it would use a client such as `reqwest`; here it sleeps 10 ms, so that one
//! call after the other would take 10 s. A call that fails or takes too long is made again, twice; then the job ends, as
//! `on_error(fail)` says.
//!
//! cargo run -p sabot-examples --example async_lookup

use std::time::{Duration, Instant};

use sabot::prelude::*;

/// A visit to a site; some have no address.
#[derive(Record, Clone)]
struct Visit {
    user: i64,
    ip: Option<Str>,
}

/// A visit and where it came from.
#[derive(Record, Debug, PartialEq)]
struct Located {
    user: i64,
    city: Option<Str>,
}

/// The city of an address.
#[operator(max_in_flight = 64, timeout = "2s", retry = 2, retry_wait = "50ms")]
async fn geo(ip: &str) -> Result<String, String> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let last = ip.rsplit('.').next().and_then(|n| n.parse::<u8>().ok());
    let last = last.ok_or_else(|| format!("`{ip}` is not an address"))?;
    Ok(["Oslo", "Lima", "Pune"].get(usize::from(last) % 3).copied().unwrap_or_default().to_owned())
}

pipeline! {
    /// Visits with their cities. A visit without an address is not looked up: `?` passes the null on.
    pub fn located(visits: Source<Visit>);

    located = visits -> with(|v| row { city: geo(v.ip?).await })
                      -> on_error(fail) -> select(|v| row Located { user: v.user, city: v.city });
    located -> sink;
}

fn main() -> Result<()> {
    let visits: Vec<Visit> =
        (0..1000).map(|n| Visit { user: n, ip: (n % 10 != 0).then(|| format!("192.0.2.{}", n % 250).into()) }).collect();
    let start = Instant::now();
    let rows: Vec<Located> = located(visits).collect()?;
    for row in rows.iter().take(5) {
        println!("user {} came from {}", row.user, row.city.as_deref().unwrap_or("(unknown)"));
    }
    println!("{} visits looked up in {:?}", rows.len(), start.elapsed());
    assert_eq!(rows.iter().filter(|r| r.city.is_none()).count(), 100);
    assert!(rows.iter().map(|r| r.user).eq(0..1000), "in the order in which they came");

    // one that fails ends the job, with its row
    let broken = vec![Visit { user: 7, ip: Some("nowhere".into()) }];
    match located(broken).collect::<Located>() {
        Ok(_) => Err(Error::usage("`nowhere` is not an address")),
        Err(error) => {
            println!("{error}");
            Ok(())
        }
    }
}
