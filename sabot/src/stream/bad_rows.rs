//! What a source cannot read as a stream of its own: `bad_rows()`.

use super::graph::plan_columns;
use super::{Append, Bound, Stream, Unkeyed};
use crate::operator::BadRow;
use crate::plan::Op;
use crate::record::{NoTime, Record, columns_of};

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// The rows, and what the source cannot read, lines of files and messages that are no rows, as a stream of their own:
    /// `(trades, bad) = trades -> bad_rows();`. Without it they end the job, or are dropped and counted, as the source's options say.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Trade { symbol: Str, qty: i64 }
    ///
    /// pipeline! {
    ///     /// Trades, and the lines that are none.
    ///     pub fn clean(lines: Source<Trade>);
    ///     (trades, bad) = lines -> bad_rows();
    ///     trades -> sink;
    ///     bad -> sink;
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// let path = std::env::temp_dir().join(format!("sabot-bad-rows-{}.csv", std::process::id()));
    /// std::fs::write(&path, "symbol,qty\nA,1\nB,many\nC,3\n").map_err(|e| Error::usage(e.to_string()))?;
    /// let ran = sabot::testing::Trial::new().run(clean(csv(&path.display().to_string())))?;
    /// assert_eq!(ran.rows::<Trade>("trades")?.len(), 2);
    /// let bad = ran.rows::<BadRow>("bad")?.remove(0);
    /// assert_eq!((bad.position, &*bad.text, &*bad.error), (3, "B,many", "column `qty`: found `many`, expected i64"));
    /// std::fs::remove_file(&path).map_err(|e| Error::usage(e.to_string()))?;
    /// # Ok(()) }
    /// ```
    pub fn bad_rows(self) -> (Self, Stream<'g, BadRow, Unkeyed, B, NoTime, Append>) {
        self.behind_source("bad_rows", "which finds what is not a row");
        let graph = self.graph();
        let node = graph.add(Op::BadRows, vec![self.node()], plan_columns(&columns_of::<BadRow>()), Vec::new(), B::ENDS, None);
        (self, Stream::new(graph, node))
    }
}
