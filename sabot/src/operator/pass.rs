//! Rows as they come: what is at the end of an edge that the plan names, and where rows are put back into order.

use std::sync::Arc;

use super::{Account, Instance, Operator, OperatorFactory, Output, Progress};
use crate::Result;
use crate::kernel::Morsel;

/// Hands rows on.
#[derive(Debug)]
pub struct Pass;

impl Pass {
    /// Instances.
    pub fn factory() -> Arc<dyn OperatorFactory> {
        Arc::new(|_: Instance| Ok(Box::new(Pass) as Box<dyn Operator>))
    }
}

impl Operator for Pass {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { used: morsel.rows() as u64, ..Account::default() });
        out.emit(morsel);
        Ok(Progress::Done)
    }
}
