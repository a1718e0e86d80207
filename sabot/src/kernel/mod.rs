//! Fused loops, SIMD dispatch, selection, hashing: the one place with `unsafe`.
//!
//! A run of row-wise steps is composed by type ([`Then`]) and driven over morsels 64 rows at a time ([`Run`]). What is
//! known about it besides its code is data ([`StepInfo`], [`Lineage`]), so that plans can be optimised, explained and
//! shipped.

mod by_value;
mod bytes;
mod computed;
mod drive;
mod faults;
pub mod hash;
mod info;
mod level;
mod lineage;
mod morsel;
mod panics;
mod plan;
mod predicate;
mod prefetch;
mod registry;
mod result;
mod run;
mod run_by_value;
mod step;
mod task;

pub(crate) use bytes::{BLOCK, equal};
pub use computed::{All, Cat, Computed};
pub use faults::{ErrorPolicy, LETTER};
#[cfg(feature = "async")]
pub(crate) use faults::{Letter, write_letters};
pub use info::{Doubt, Expr, ExprMeta, Form, StepInfo, StepKind, StepMeta, Way};
pub use level::Level;
pub use lineage::{From as ColumnFrom, Lineage, Needs, StepShape, Unit};
pub(crate) use morsel::PLACE;
pub use morsel::{Morsel, Origin, Selection, SetBits};
pub use panics::{Panicked, catch};
pub use predicate::{Comparison, Constant, ConstantMeta, Predicate, SimpleMeta};
pub(crate) use prefetch::prefetch;
pub use registry::{OperatorEntry, OperatorKind, Tier, Typed, operators};
pub(crate) use registry::{operator_at, returns_result};
pub use run::{Ran, Request, Run, RunKernel};
pub use step::{Added, Adds, Done, Filter, Judges, Made, Makes, OrNull, Select, Step, Then, Verdict, With, judged};
