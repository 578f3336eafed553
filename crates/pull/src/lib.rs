//! The ordered stream of one or many pumps.
mod client;
mod error;
mod events;
mod merge;
mod record;
mod schema;
mod stream;
pub use client::PumpClient;
pub use error::Error;
pub use events::{EventBatch, EventStream};
pub use record::{Batch, Record};
pub use schema::SchemaFetcher;
pub use stream::{Member, MergedStream, StreamOptions};
