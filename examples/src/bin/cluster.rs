//! The flights job and the fraud stream on several processes, or machines: this program is their server, their agents and the tool.
//!
//! The README's section "On several machines" starts three processes of it, and kills one. All processes run this one executable, so its
//! pipelines are compiled in: `cargo build --release -p sabot-examples --features cluster --bin cluster`.

#[path = "card_fraud.rs"]
#[allow(dead_code)]
mod card_fraud;
#[path = "flight_delays.rs"]
#[allow(dead_code)]
mod flight_delays;

fn main() -> sabot::Result<()> {
    sabot::main()
}
