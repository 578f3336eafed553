//! Bounded reads of the store from async code.

use binlog_storage::{Error, Fragment, Scan, Store};
use binlog_types::{CommitTs, Range};
use tonic::{Code, Status};

use super::status;
use crate::context::Shared;

/// One bounded read, whose disk work runs on the blocking pool.
#[derive(Debug)]
pub(super) struct Reader {
    /// None only while a batch is being read, or after one was abandoned.
    scan: Option<Scan>,
}

/// Counts a failed read of the store, which dashboards alert on.
pub(super) fn count(context: &Shared, error: ReadError) -> ReadError {
    let failed = matches!(&error, ReadError::Other(status) if matches!(status.code(), Code::DataLoss | Code::Internal));
    if failed {
        context.metrics.errors.with_label_values(&["read_value"]).inc();
    }
    error
}

/// Why a batch could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Garbage collection passed the reader.
    Purged(CommitTs),
    /// Anything else.
    Other(Status),
}

impl ReadError {
    /// As a status of our own service.
    pub(super) fn into_status(self) -> Status {
        match self {
            ReadError::Purged(safe_point) => status::purged(safe_point),
            ReadError::Other(status) => status,
        }
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        match error {
            Error::Purged { safe_point } => ReadError::Purged(safe_point),
            other => ReadError::Other(status::of_store(&other)),
        }
    }
}

/// Fragments, and up to where everything was read.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) fragments: Vec<Fragment>,
    pub(super) complete_through: CommitTs,
    /// Nothing is left in the range.
    pub(super) done: bool,
}

impl Reader {
    /// Starts to read `range`, which must lie at or below the watermark.
    pub(super) async fn open(store: &Store, range: Range) -> Result<Self, ReadError> {
        let store = store.clone();
        let scan = blocking(move || store.scan(range)).await??;
        Ok(Reader { scan: Some(scan) })
    }

    /// The next fragments, about `max_bytes` of payload.
    pub(super) async fn next_batch(&mut self, max_bytes: usize) -> Result<Batch, ReadError> {
        let Some(mut scan) = self.scan.take() else {
            return Err(ReadError::Other(Status::internal("the reader was used after it failed")));
        };
        let (scan, result) = blocking(move || {
            let result = scan.next_batch(max_bytes);
            (scan, result)
        })
        .await?;
        let fragments = result?;
        let batch =
            Batch { complete_through: scan.complete_through(), done: fragments.is_empty(), fragments };
        self.scan = Some(scan);
        Ok(batch)
    }
}

/// Runs disk work off the service threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ReadError::Other(status::stopping()))
}
