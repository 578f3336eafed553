//! What can go wrong in a sink.
/// An error of a sink; names table, commit_ts and statement where there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0}")]
    Placeholder(String),
}
