//! Sabot turns plain Rust functions into vectorised Arrow operators and connects them into one dataflow that runs as a
//! batch job or as an endless stream.

#[cfg(feature = "cli")]
pub mod cli;
pub mod connect;
mod error;
pub mod kernel;
pub mod operator;
pub mod plan;
pub mod record;
pub mod runtime;
mod secret;
pub mod shuffle;
pub mod stream;
pub mod testing;
mod words;

#[cfg(feature = "cli")]
pub use cli::main;
pub use error::{Error, Result};
pub use sabot_macros::{Record, State, operator, pipeline};

/// What a program with pipelines needs: `use sabot::prelude::*`.
pub mod prelude {
    pub use crate::operator::{Batch, KeyCtx};
    pub use crate::record::{
        Bytes, Date, Decimal, Dict, Duration, List, ListRef, Micros, Millis, Nanos, Record, Seconds, State, Str, Time, TimeExt, Timestamp,
        Utc,
    };
    #[cfg(feature = "json")]
    pub use crate::stream::jsonl;
    #[cfg(feature = "parquet")]
    pub use crate::stream::parquet;
    pub use crate::stream::{
        Batches, Bounded, Secret, Sink, Source, Unbounded, channel_in, channel_out, csv, csv_with, follow, generate, hop, session, to,
        tumbling,
    };
    pub use crate::{Error, Result};
    pub use sabot_macros::{Record, State, operator, pipeline};
}

/// What the macros' output refers to. Not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::kernel::{
        Added, Adds, All, Cat, Comparison, Computed, ConstantMeta, ExprMeta, Filter, Made, Makes, OrNull, Select, SimpleMeta, Step,
        StepMeta, Then, With, judged,
    };
    pub use crate::operator::{
        Aggregate, AsyncOptions, Batch, BatchItem, Finish, KeyCtx, KeyedItem, MapOperator, OperatorEntry, OperatorItem, OperatorKind,
        Plain, Stored, Tier, Typed,
    };
    #[cfg(feature = "async")]
    pub use crate::operator::{AsyncItem, AsyncMap, Awaited};
    pub use crate::record::*;
    pub use crate::stream::*;
    pub use {arrow_array, arrow_schema, inventory, serde, serde_json};
}
