//! What can go wrong while pulling: typed where a caller decides by it.

use binlog_proto::store::error_detail::Kind;
use binlog_types::{ClusterId, CommitTs, NodeId, SchemaVersion};
use tonic::{Code, Status};

/// Errors of a pull. Those for which [`Error::is_retryable`] holds are retried inside the streams; the others are stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pump no longer has what was asked for.
    #[error(
        "pump {pump}: binlogs in ({after}, {safe_point}] are purged; copy the data anew from a backup at or above {safe_point}, or go on without them: drainer -accept-gap={pump}:{after}-{safe_point}"
    )]
    Purged {
        /// Who said so.
        pump: NodeId,
        /// The exclusive lower bound of the request.
        after: CommitTs,
        /// Records at or below it may be gone.
        safe_point: CommitTs,
    },
    /// The pump knows that a stretch of its stream is incomplete.
    #[error(
        "pump {pump}: binlogs in ({after}, {through}] are incomplete: {reason}; repair what they changed by hand, and go on without them: drainer -accept-gap={pump}:{after}-{through}"
    )]
    Gap {
        /// Who said so.
        pump: NodeId,
        /// Exclusive lower bound of the gap.
        after: CommitTs,
        /// Inclusive upper bound of the gap.
        through: CommitTs,
        /// Why, in the pump's words.
        reason: String,
    },
    /// The pump belongs to another cluster.
    #[error("pump {pump} belongs to cluster {own}, but cluster {requested} was asked for")]
    WrongCluster {
        /// Who said so.
        pump: NodeId,
        /// The cluster of the request; 0 where the pump did not say.
        requested: ClusterId,
        /// The cluster of the pump; 0 where the pump did not say.
        own: ClusterId,
    },
    /// The pump's store is not the one that was read before: replaced, or set back to an older state.
    #[error(
        "pump {pump}: {why}; binlogs may be missing: check the pump's data directory; to take its store as it is: drainer -accept-store={pump}:{own}"
    )]
    WrongStore {
        /// Who it is about.
        pump: NodeId,
        /// What differs.
        why: String,
        /// The uuid of the store that it has now.
        own: String,
    },
    /// What was learned of a pump cannot be put on record.
    #[error("pump {pump}: {why}")]
    Ledger {
        /// Who it is about.
        pump: NodeId,
        /// Why not.
        why: String,
    },
    /// The range reaches past what the pump can promise so far.
    #[error("pump {pump} is complete only through {watermark} so far")]
    NotYet {
        /// Who said so.
        pump: NodeId,
        /// The pump's watermark.
        watermark: CommitTs,
    },
    /// The pump's schema history does not reach far enough so far.
    #[error("pump {pump} knows the schema only up to version {known} so far")]
    SchemaNotYet {
        /// Who said so.
        pump: NodeId,
        /// How far its history reaches.
        known: SchemaVersion,
    },
    /// The pump is in a state in which it does not serve the call.
    #[error("pump {pump} is {state}")]
    NotOnline {
        /// Who said so.
        pump: NodeId,
        /// The pump's state.
        state: String,
    },
    /// The address of a pump cannot be used.
    #[error("pump {pump}: bad address {host:?}: {why}")]
    BadAddress {
        /// Whose address.
        pump: NodeId,
        /// The address as the registry has it.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// A failed call that carries no type of ours.
    #[error("pump {pump} at {host}: {} ({:?})", .status.message(), .status.code())]
    Rpc {
        /// Who was called.
        pump: NodeId,
        /// Where.
        host: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The pump ended a stream that has no end.
    #[error("pump {pump} at {host} ended the stream")]
    Ended {
        /// Who ended it.
        pump: NodeId,
        /// Where.
        host: String,
    },
    /// What the pump sent breaks the protocol, or cannot be read.
    #[error("pump {pump}: corrupt stream after {after}: {what}")]
    Corrupt {
        /// Who sent it.
        pump: NodeId,
        /// The last position that was received well.
        after: CommitTs,
        /// What is wrong.
        what: String,
    },
    /// A record came whose place in the merged stream has already passed.
    #[error(
        "pump {pump} sent a transaction with commit_ts {commit_ts}, but the stream was handed out through {emitted} already; it was not applied: restart from a checkpoint below it"
    )]
    Late {
        /// Who sent it.
        pump: NodeId,
        /// The record's place.
        commit_ts: CommitTs,
        /// How far the stream was handed out.
        emitted: CommitTs,
    },
    /// Two records claim one place of the stream.
    #[error("pumps {first} and {second} disagree about commit_ts {commit_ts}: {what}")]
    Conflict {
        /// One pump.
        first: NodeId,
        /// The other.
        second: NodeId,
        /// The place.
        commit_ts: CommitTs,
        /// How they differ.
        what: String,
    },
    /// Two pumps have different bytes for one version of one schema object.
    #[error(
        "pumps disagree about {object} at schema version {version}: one of their schema histories is corrupt"
    )]
    SchemaConflict {
        /// Kind and id.
        object: String,
        /// The version.
        version: SchemaVersion,
    },
    /// No pump can say what the schema is.
    #[error(
        "none of the pumps ({pumps}) serves the schema history, and there is no TiKV to read it from: at least one pump of this version is needed to decode rows"
    )]
    NoSchema {
        /// Who was asked.
        pumps: String,
    },
    /// A record cannot be interpreted.
    #[error("record at commit_ts {commit_ts}: {source}")]
    Interpret {
        /// Where in the stream.
        commit_ts: CommitTs,
        /// Why not.
        source: Box<binlog_catalog::Error>,
    },
    /// The payload of a record is no binlog.
    #[error("record at commit_ts {commit_ts}: undecodable payload: {source}")]
    Payload {
        /// Where in the stream.
        commit_ts: CommitTs,
        /// Why not.
        source: prost::DecodeError,
    },
    /// The schema history that the pumps sent is unreadable.
    #[error("schema history: {source}")]
    Schema {
        /// Why.
        source: Box<binlog_catalog::Error>,
    },
    /// The schema history cannot be read from where the pumps' lack of it sent us.
    #[error("schema history from TiKV: {why}")]
    SchemaSource {
        /// Why not.
        why: String,
    },
    /// A transaction that is too large for memory cannot be put aside, or not be read back.
    #[error(
        "a large transaction cannot be put aside in the data directory ({source}): free space there, or raise the memory budget above its size"
    )]
    Aside {
        /// Why not.
        source: std::io::Error,
    },
    /// A task of the stream ended by itself: a defect.
    #[error("the task that pulls from pump {pump} died")]
    TaskDied {
        /// Whose task.
        pump: NodeId,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NotYet { .. }
            | Error::SchemaNotYet { .. }
            | Error::NotOnline { .. }
            | Error::SchemaSource { .. }
            | Error::Ended { .. } => true,
            Error::Rpc { status, .. } => match status.code() {
                Code::Ok
                | Code::Cancelled
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Aborted
                | Code::Internal
                | Code::Unavailable => true,
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss
                | Code::Unauthenticated => false,
            },
            Error::Purged { .. }
            | Error::Gap { .. }
            | Error::WrongCluster { .. }
            | Error::WrongStore { .. }
            | Error::BadAddress { .. }
            | Error::Corrupt { .. }
            | Error::Late { .. }
            | Error::Conflict { .. }
            | Error::SchemaConflict { .. }
            | Error::NoSchema { .. }
            | Error::Interpret { .. }
            | Error::Payload { .. }
            | Error::Schema { .. }
            | Error::Ledger { .. }
            | Error::Aside { .. }
            | Error::TaskDied { .. } => false,
        }
    }

    /// Whether the server does not know the method at all: an original pump.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Error::Rpc { status, .. } if status.code() == Code::Unimplemented)
    }

    pub(crate) fn aside(source: std::io::Error) -> Self {
        Error::Aside { source }
    }

    /// The typed error that `status` carries. `after` is the lower bound of the request, where it had one.
    pub(crate) fn from_status(pump: &NodeId, host: &str, after: CommitTs, status: Status) -> Self {
        let pump = pump.clone();
        match binlog_proto::detail_of(&status) {
            Some(Kind::Purged(p)) => Error::Purged { pump, after, safe_point: CommitTs::new(p.safe_point) },
            Some(Kind::Gap(gap)) => Error::Gap {
                pump,
                after: CommitTs::new(gap.after),
                through: CommitTs::new(gap.through),
                reason: gap.reason,
            },
            Some(Kind::NotYet(n)) => Error::NotYet { pump, watermark: CommitTs::new(n.watermark) },
            Some(Kind::SchemaNotYet(n)) => {
                Error::SchemaNotYet { pump, known: SchemaVersion(n.known_version) }
            }
            Some(Kind::WrongCluster(w)) => {
                Error::WrongCluster { pump, requested: ClusterId(w.requested), own: ClusterId(w.own) }
            }
            Some(Kind::WrongStore(w)) => Error::WrongStore {
                pump,
                why: format!("its store is {}, not {} as before", hex(&w.own), hex(&w.requested)),
                own: hex(&w.own),
            },
            Some(Kind::NotOnline(n)) => Error::NotOnline { pump, state: n.state },
            None if is_original_cluster_mismatch(&status) => {
                Error::WrongCluster { pump, requested: ClusterId(0), own: ClusterId(0) }
            }
            None => Error::Rpc { pump, host: host.to_owned(), status: Box::new(status) },
        }
    }
}

/// The original pump has no codes: a wrong cluster id is `Unknown` with this text. The one place that reads a foreign text.
fn is_original_cluster_mismatch(status: &Status) -> bool {
    status.code() == Code::Unknown && status.message().starts_with("cluster ID are mismatch")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use binlog_proto::status_with;
    use binlog_proto::store::Purged;

    use super::*;

    fn typed(status: Status) -> Error {
        Error::from_status(&NodeId::new("p1").unwrap(), "h:1", CommitTs::new(7), status)
    }

    #[test]
    fn details_become_types() {
        let status = status_with(Code::OutOfRange, "gone", Kind::Purged(Purged { safe_point: 9 }));
        let error = typed(status);
        assert!(matches!(&error, Error::Purged { safe_point, .. } if safe_point.raw() == 9));
        assert!(!error.is_retryable());
    }

    #[test]
    fn the_originals_texts_are_understood() {
        assert!(matches!(
            typed(Status::unknown("cluster ID are mismatch, 1 vs 2")),
            Error::WrongCluster { .. }
        ));
        assert!(typed(Status::unknown("something else")).is_retryable());
        assert!(typed(Status::unimplemented("")).is_unimplemented());
    }
}
