//! The questions of NEXMark as pipelines. The rows of a result are a record of the question's name, and its open end is `result`.

mod daily;
mod highest_bid;
mod hot_items;
mod joins;
mod last_bids;
mod lookup;
mod rows;
mod sessions;
mod winning;

pub use daily::{Q15, Q17, q15, q17};
pub use highest_bid::{Q7, q7};
pub use hot_items::{Q5, q5};
pub use joins::{Q3, Q8, Q20, q3, q8, q20};
pub use last_bids::{Q18, q18};
pub use lookup::{Q13, q13};
pub use rows::{Q0, Q1, q0, q1};
pub use sessions::{Q11, q11};
pub use winning::{Q4, Q9, Winner, q4, q9};
