//! Reparo: point-in-time restore.
//!
//! It reads a bounded range `(after, through]` of the merged stream of all pumps and writes it to a database, or out as text. It is a one-shot
//! program: it ends with success only when all of the range has arrived.
//!
//! - [`Config`]: flags and TOML keys, those of the original and our own;
//! - [`Bounds`]: the range that a person asked for, as TSOs, with what was assumed;
//! - [`Source`]: the pumps, what they hold and what they lack;
//! - [`run`]: from source to destination; [`Summary`] says what was covered.

mod bounds;
mod condition;
mod config;
mod destination;
mod error;
mod fold;
mod print;
mod progress;
mod run;
mod source;
mod summary;
mod text;

pub use bounds::{Bounds, utc};
pub use condition::{BoundCondition, Condition, ConditionError};
pub use config::{Config, DestDb, DestType, FromPump, PROGRAM, TableName, prepare_args};
pub use error::Error;
pub use fold::Limits;
pub use print::write_event as write_print_event;
pub use run::run;
pub use source::{Hole, PumpInfo, Source};
pub use summary::{Counts, Summary};
