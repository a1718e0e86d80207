//! The physical operator of a fused run: stateless, one kernel call per morsel.
//!
//! A run leaves rows where they are, so the weights of changes go on as they came, whatever the run's mask.

use std::sync::Arc;

use super::weights::Carried;
use super::{Account, Instance, Operator, OperatorFactory, Output, Progress};
use crate::Result;
use crate::kernel::{Morsel, Request, RunKernel};

/// Runs a kernel over each morsel; the selection travels on, nothing is compacted.
pub struct RunOperator {
    kernel: Arc<dyn RunKernel>,
    request: Arc<Request>,
    carried: Carried,
}

impl std::fmt::Debug for RunOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunOperator({})", self.request.name)
    }
}

impl RunOperator {
    /// A factory of instances that share the kernel.
    pub fn factory(kernel: Arc<dyn RunKernel>, request: Request) -> Arc<dyn OperatorFactory> {
        let request = Arc::new(request);
        Arc::new(move |_: Instance| -> Result<Box<dyn Operator>> {
            Ok(Box::new(RunOperator { kernel: Arc::clone(&kernel), request: Arc::clone(&request), carried: Carried::default() }))
        })
    }
}

impl Operator for RunOperator {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut ran = self.kernel.run(&morsel, &self.request)?;
        ran.morsel.batch = self.carried.carry(&morsel.batch, ran.morsel.batch)?;
        out.account(Account {
            used: (ran.rows_in - ran.filtered - ran.failed) as u64,
            filtered: ran.filtered as u64,
            failed: ran.failed as u64,
            ..Account::default()
        });
        out.emit(ran.morsel);
        if let Some(letters) = ran.letters {
            out.emit_failed(letters);
        }
        Ok(Progress::Done)
    }
}
