//! Drainer: replicates the merged stream of all pumps into a database.
//!
//! ```text
//! registry ──► detect ──members──► fetch ═EventBatch, with its bytes of the budget═► apply ──► sink
//!    ▲                                                                                │
//!    └───────────── heartbeat: state, checkpoint ◄────────────────────────────────────┘
//! ```
//!
//! [`fetch`] pulls, merges and decodes the next batches while [`apply`] gives the ones before to the sink. The checkpoint is saved only over
//! what the sink has made durable, and moves with the pumps' watermarks where nothing happens. [`Drainer::start`] and [`Drainer::until`] are the
//! one place that knows the order of starting and stopping.
//!
//! **Invariant:** everything at or below a saved checkpoint was applied, or left out by a rule of the configuration.

mod apply;
mod cluster;
mod config;
mod context;
mod detect;
mod downstream;
mod error;
mod event_rules;
mod fetch;
mod flags;
mod http;
mod ledger;
mod metrics;
mod node;
mod registrar;
mod run;
mod select;
mod serve;
mod settings;

pub use binlog_cli::tls::Security;
pub use config::{
    CheckpointConfig, Config, Destination, FilterRule, MigrateRule, Relay, SourceName, Syncer, TableName,
};
pub use error::Error;
pub use flags::PROGRAM;
pub use run::{Drainer, run};
