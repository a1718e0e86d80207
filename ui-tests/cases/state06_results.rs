//! Results of two types.

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
    fn row(&mut self, ctx: &mut KeyCtx, page: &str) -> Option<Str> {
        self.pages += page.len() as u64;
        ctx.set_timer(ctx.time() + 30.minute());
        None
    }
    fn timer(&mut self, _ctx: &mut KeyCtx, _at: Timestamp<Micros>) -> Option<u64> {
        Some(self.pages)
    }
}

pipeline! {
    pub fn p(clicks: Source<Click>);

    clicks -> key_by(user) -> keyed(|c| Visit(c.page)) -> sink;
}

fn main() {}

//~ ERROR 26:78 | u64 | an operator has one type of results: `row` returns `Str`, so `timer` does too
