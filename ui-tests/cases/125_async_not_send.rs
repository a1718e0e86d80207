//! A future that cannot leave its thread.

use sabot::prelude::*;
use std::rc::Rc;

async fn pause() {}

#[operator]
async fn shared(hits: i64) -> i64 {
    let held = Rc::new(hits);
    pause().await;
    *held
}

fn main() {}

//~ ERROR 9:10 | shared | future cannot be sent between threads safely
