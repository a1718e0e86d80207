//! Timers that nothing takes: of an operator without `timer`, and of a function.

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
    fn row(&mut self, ctx: &mut KeyCtx, page: &str) -> u64 {
        ctx.set_timer(ctx.time() + 30.minute());
        self.pages += page.len() as u64;
        self.pages
    }
}

/// The same as a function.
#[operator]
fn visit(pages: &mut u64, ctx: &mut KeyCtx, page: &str) -> u64 {
    ctx.set_clock_timer(ctx.time() + 30.minute());
    *pages += page.len() as u64;
    *pages
}

pipeline! {
    pub fn p(clicks: Source<Click>);

    clicks -> key_by(user) -> keyed(|c| Visit(c.page)) -> sink;
}

fn main() {}

//~ ERROR 22:13 | set_timer | nothing takes this timer: add `fn timer(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>)` to the operator
//~ ERROR 31:9 | set_clock_timer | nothing takes this timer: an operator with timers is an `#[operator] impl` with `fn row(..)` and `fn timer(..)`
