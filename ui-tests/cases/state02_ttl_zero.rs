//! State that cannot live.

use sabot::prelude::*;

#[derive(Record)]
struct Click {
    user: i64,
    page: Str,
    #[event_time]
    at: Timestamp<Micros>,
}

/// The pages of a visit.
#[derive(State, Default)]
struct Visit {
    pages: u64,
}

#[operator]
impl Visit {
    fn row(&mut self, ctx: &mut KeyCtx, page: &str) {
        self.pages += page.len() as u64;
        ctx.set_timer(ctx.time() + 30.minute());
    }
    fn timer(&mut self, _ctx: &mut KeyCtx, _at: Timestamp<Micros>) -> Option<u64> {
        Some(self.pages)
    }
}

pipeline! {
    pub fn p(clicks: Source<Click>);

    clicks -> key_by(user) -> keyed(|c| Visit(c.page), ttl = 0.sec()) -> sink;
}

fn main() {}

//~ ERROR 33:62 | 0 | state needs some time to live: write a span greater than zero, or leave it out to keep state for ever
