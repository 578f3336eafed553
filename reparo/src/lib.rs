//! Reparo: point-in-time restore.
//!
//! It reads a bounded range `(after, through]` of the merged stream of all pumps and writes it to a database, or out as text. It is a one-shot
//! program: it ends with success only when all of the range has arrived.
//!
//! - [`Command`]: the first word of the command line, and the flags that follow it;
//! - [`Config`]: the values of flags and TOML keys, those of the original and our own;
//! - [`Bounds`]: the range that a person asked for, as TSOs, with what was assumed;
//! - [`Input`]: pumps, or the stores of dead ones: what they hold, what they lack, and their events;
//! - [`Selection`]: the three together, checked: what every command begins with;
//! - [`run`]: from source to destination; [`Summary`] says what was covered;
//! - [`plan`]: what `run` would do;
//! - [`undo`]: the reverse of a range, row by row, on [`Condition`]s and folded rows;
//! - [`look`], [`activity`]: the changes of rows, and what changed when;
//! - [`prove`]: digests of a range, and whether a destination holds what it leaves.

mod activity;
mod backup;
mod bind;
mod bounds;
mod chart;
mod command;
mod condition;
mod config;
mod database;
mod destination;
mod error;
mod flags;
mod fold;
mod input;
mod journal;
mod look;
mod needs;
mod picker;
mod plan;
mod print;
mod progress;
mod prove;
mod records;
mod run;
mod selection;
mod standing;
mod summary;
mod text;
mod undo;

pub use activity::{Activity, Notable, activity};
pub use backup::Backup;
pub use bounds::{Bounds, utc};
pub use command::Command;
pub use condition::{BoundCondition, Condition, ConditionError};
pub use config::{Config, DestDb, DestType, Origin, TableName};
pub use error::Error;
pub use flags::{PROGRAM, prepare_args};
pub use fold::Limits;
pub use input::{Files, Hole, Input, PumpInfo, Pumps, Reading, StoreRecords, Stores, Unreachable};
pub use look::{Found, look};
pub use plan::{Plan, TableLoad, plan};
pub use print::write_event as write_print_event;
pub use prove::{Compared, Proof, Proofs, prove};
pub use run::run;
pub use selection::Selection;
pub use summary::{Counts, Summary};
pub use undo::{Conflict, Loss, Undo, UndoReport, UndoScope, Undone, undo};
