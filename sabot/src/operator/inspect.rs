//! Looking at rows as they pass.

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::RecordBatch;

use super::fault::guarded;
use super::{Account, Instance, Operator, OperatorFactory, Output, Progress};
use crate::Result;
use crate::kernel::Morsel;

/// Calls a function on every batch, without its dropped rows, and passes the morsel on unchanged.
pub struct Inspect<F> {
    name: Arc<str>,
    look: Arc<F>,
}

impl<F> std::fmt::Debug for Inspect<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspect").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Fn(&RecordBatch) + Send + Sync + 'static> Inspect<F> {
    /// Instances that call `look`, from several threads at a time.
    pub fn factory(name: &str, look: F) -> Arc<dyn OperatorFactory> {
        let (name, look): (Arc<str>, _) = (name.into(), Arc::new(look));
        Arc::new(move |_: Instance| Ok(Box::new(Inspect { name: Arc::clone(&name), look: Arc::clone(&look) }) as Box<dyn Operator>))
    }
}

impl<F: Fn(&RecordBatch) + Send + Sync> Operator for Inspect<F> {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        if batch.num_rows() > 0 {
            let look = || {
                (self.look)(&batch);
                Ok(())
            };
            guarded(&Cell::new(0), look).map_err(|f| f.at(&self.name, Some(morsel.origin)))?;
        }
        out.account(Account { used: morsel.rows() as u64, ..Account::default() });
        out.emit(morsel);
        Ok(Progress::Done)
    }
}
