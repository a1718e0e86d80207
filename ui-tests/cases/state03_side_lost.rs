//! A second output that nobody reads.

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
    fn row(&mut self, ctx: &mut KeyCtx<Str>, page: &str) {
        self.pages += page.len() as u64;
        ctx.side(page.into());
    }
    fn timer(&mut self, _ctx: &mut KeyCtx<Str>, _at: Timestamp<Micros>) -> Option<u64> {
        Some(self.pages)
    }
}

pipeline! {
    pub fn p(clicks: Source<Click>);

    clicks -> key_by(user) -> keyed(|c| Visit(c.page)) -> sink;
}

fn main() {}

//~ ERROR 33:41 | Visit | nobody reads the second output of this operator, its `sabot::record::Str` rows
