//! What can go wrong with the cluster.
/// An error of a cluster call; the text names the endpoint and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0}")]
    Placeholder(String),
}
