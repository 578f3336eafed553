//! Binlog files: what the original drainer's `file` destination writes, read.
//!
//! ```text
//! DIR/binlog-0000000000000000-20190101010101      record record record …
//!     binlog-0000000000000001-20190101020202      record = magic u32 │ length u64 │ payload │ CRC-32C u32   (little endian)
//! ```
//!
//! A payload is a `pb_binlog.Binlog`: the rows of a transaction, column by column with name and type, or the text of a DDL. The
//! files say nothing of keys, table definitions or the cluster.
//!
//! - [`FileName`]: which files belong to an archive, and in which order;
//! - [`RecordReader`]: the records of one file; what is damaged is an error with its offset;
//! - [`Archive`]: a directory; [`Records`]: its records in order of commit_ts, the copies that a restarted drainer wrote left out;
//! - [`Decoder`]: records to the same events that pumps give;
//! - [`Statement`]: what a DDL's text is about, and what it does ([`Change`]).

mod change;
mod column;
mod decode;
mod directory;
mod error;
mod json;
mod name;
mod open;
mod record;
mod records;
mod statement;
mod tokens;

pub use change::Change;
pub use decode::Decoder;
pub use directory::{Archive, FileInfo};
pub use error::{Damage, Error};
pub use name::{BadName, FileName};
pub use record::{MAGIC, RawRecord, RecordReader};
pub use records::{Records, Stop};
pub use statement::{Name, Statement, Subject};
