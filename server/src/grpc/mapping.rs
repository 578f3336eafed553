//! A `binlog.Binlog` as TiDB sends it, turned into a write of the store.

use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_proto::{Body, encode_extra, split_prewrite};
use binlog_storage::{Commit, Prewrite, Write};
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs};
use bytes::Bytes;
use prost::Message;

use super::malformed::complaint;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// TiDB's probe: an all-zero binlog. Nothing is stored, but it fails where a prewrite would.
    Ping,
    /// A prewrite, refused unless the node is online.
    Prewrite(Prewrite),
    /// Anything that ends a transaction, taken in every state.
    Outcome(Outcome),
}

/// A write other than a prewrite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// For the store.
    pub(super) write: Write,
    /// The job of a DDL that is committed, which the schema follower looks for.
    pub(super) ddl: Option<JobId>,
}

/// Why a payload is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Not a binlog at all: the original's words for it, where it has some.
    #[error("{0}")]
    Undecodable(String),
    /// A type that nobody defined.
    #[error("unknown binlog type {0}")]
    UnknownType(i32),
    /// Timestamps that cannot be.
    #[error("impossible timestamps in a {0} binlog: start_ts {1}, commit_ts {2}")]
    Timestamps(&'static str, i64, i64),
}

impl Request {
    /// Decodes a payload; its large parts stay slices of it until the body is laid together.
    pub(super) fn decode(payload: Bytes) -> Result<Self, Refusal> {
        let undecodable = |error: prost::DecodeError| {
            Refusal::Undecodable(complaint(&payload).unwrap_or_else(|| format!("proto: {error}")))
        };
        let binlog = Binlog::decode(payload.clone()).map_err(undecodable)?;
        let tp = BinlogType::try_from(binlog.tp).map_err(|_| Refusal::UnknownType(binlog.tp))?;
        let (start, commit) = (binlog.start_ts, binlog.commit_ts);
        let refuse = |what| Err(Refusal::Timestamps(what, start, commit));
        if start == 0 && commit == 0 {
            return Ok(match tp {
                BinlogType::Prewrite => Request::Ping,
                // The original drops it, whatever it is.
                _ => Request::Outcome(Outcome { write: Write::Rollback(StartTs::ZERO), ddl: None }),
            });
        }
        if start <= 0 || commit < 0 {
            return refuse(tp.as_str_name());
        }
        let start_ts = StartTs::new(start as u64);
        match tp {
            BinlogType::Prewrite => {
                prewrite(&binlog, start_ts, &payload).map(Request::Prewrite).map_err(undecodable)
            }
            BinlogType::Rollback if commit == start => {
                Ok(outcome(Write::Fake(CommitTs::new(commit as u64)), None))
            }
            BinlogType::Rollback => Ok(outcome(Write::Rollback(start_ts), None)),
            // The two obsolete types are stored and delivered by their commit_ts, as a commit is.
            BinlogType::Commit | BinlogType::PreDdl | BinlogType::PostDdl if commit > start => {
                let extra = encode_extra(binlog.prewrite_key.as_deref());
                let write =
                    Write::Commit(Commit { start_ts, commit_ts: CommitTs::new(commit as u64), extra });
                Ok(outcome(write, (binlog.ddl_job_id > 0).then_some(JobId(binlog.ddl_job_id))))
            }
            BinlogType::Commit | BinlogType::PreDdl | BinlogType::PostDdl => refuse(tp.as_str_name()),
        }
    }
}

fn outcome(write: Write, ddl: Option<JobId>) -> Request {
    Request::Outcome(Outcome { write, ddl })
}

/// Bodies from this size on are passed on as they came. Smaller ones are laid together anew: a slice would keep the whole buffer
/// that the request was received in.
const LARGE: usize = 64 << 10;

fn prewrite(binlog: &Binlog, start_ts: StartTs, sent: &Bytes) -> Result<Prewrite, prost::DecodeError> {
    let body = split_prewrite(binlog);
    Ok(Prewrite {
        start_ts,
        schema_version: SchemaVersion(body.schema_version()?),
        ddl: binlog.ddl_job_id > 0,
        key: binlog.prewrite_key.clone().unwrap_or_default(),
        payload: if sent.len() >= LARGE { as_sent(&body, sent) } else { None }
            .unwrap_or_else(|| body.encode_to_vec().into()),
    })
}

/// The body as a slice of what was sent, where it stands there as the original's encoder puts it: last, and its fields in order.
fn as_sent(body: &Body, sent: &Bytes) -> Option<Bytes> {
    let value = body.prewrite_value.as_ref()?;
    let around = Body { prewrite_value: Some(Bytes::new()), ..body.clone() }.encode_to_vec();
    // Behind the value's tag and its length, which is 0 there.
    let behind = around.get(2..)?;
    let mut before = vec![around[0]];
    prost::encoding::encode_varint(value.len() as u64, &mut before);
    let begin = sent.len().checked_sub(before.len() + value.len() + behind.len())?;
    let at = begin + before.len();
    // The decoder made a slice of the value: that it is this one needs no look at its bytes.
    let in_place = sent[at..].as_ptr() == value.as_ptr();
    let fits = sent[begin..].starts_with(&before) && sent[at + value.len()..] == *behind;
    (in_place && fits).then(|| sent.slice(begin..))
}

#[cfg(test)]
mod tests {
    use binlog_proto::binlog::PrewriteValue;

    use super::*;

    fn binlog(tp: BinlogType, start_ts: i64, commit_ts: i64) -> Binlog {
        Binlog { tp: tp as i32, start_ts, commit_ts, ..Binlog::default() }
    }

    fn decode(binlog: &Binlog) -> Result<Request, Refusal> {
        Request::decode(binlog.encode_to_vec().into())
    }

    #[test]
    fn an_empty_payload_is_a_ping() {
        assert_eq!(Request::decode(Bytes::new()).unwrap(), Request::Ping);
        assert_eq!(decode(&Binlog::default()).unwrap(), Request::Ping);
    }

    #[test]
    fn a_prewrite_keeps_its_body_and_version() {
        let value = PrewriteValue { schema_version: 42, mutations: vec![] }.encode_to_vec();
        let sent = Binlog {
            prewrite_key: Some(Bytes::from_static(b"k")),
            prewrite_value: Some(value.into()),
            ..binlog(BinlogType::Prewrite, 5, 0)
        };
        let Request::Prewrite(prewrite) = decode(&sent).unwrap() else { panic!("not a prewrite") };
        assert_eq!(
            (prewrite.start_ts, prewrite.schema_version, prewrite.ddl),
            (StartTs::new(5), SchemaVersion(42), false)
        );
        assert_eq!(prewrite.key, &b"k"[..]);
        assert_eq!(prewrite.payload, split_prewrite(&sent).encode_to_vec());
    }

    #[test]
    fn a_large_body_is_a_slice_of_what_was_sent_or_equal_to_one() {
        let value = PrewriteValue { schema_version: 42, mutations: vec![] }.encode_to_vec();
        let value = [value, vec![0; LARGE]].concat();
        let sent = Binlog { prewrite_value: Some(value.into()), ..binlog(BinlogType::Prewrite, 5, 0) };
        let expected = split_prewrite(&sent).encode_to_vec();
        let bytes = Bytes::from(sent.encode_to_vec());
        let decode = |bytes: &Bytes| match Request::decode(bytes.clone()) {
            Ok(Request::Prewrite(prewrite)) => prewrite.payload,
            other => panic!("{other:?}"),
        };
        let plain = decode(&bytes);
        assert_eq!(plain, expected);
        assert_eq!(plain.as_ptr(), bytes[bytes.len() - plain.len()..].as_ptr());
        // Another encoder's order: field 7 first.
        let tail = bytes.len() - 4;
        let turned = Bytes::from([&bytes[tail..tail + 2], &bytes[..tail], &bytes[tail + 2..]].concat());
        assert_eq!(decode(&turned), expected);
    }

    #[test]
    fn outcomes_by_type() {
        let commit = Write::Commit(Commit {
            start_ts: StartTs::new(5),
            commit_ts: CommitTs::new(7),
            extra: Bytes::new(),
        });
        for (sent, write) in [
            (binlog(BinlogType::Commit, 5, 7), commit.clone()),
            (binlog(BinlogType::PostDdl, 5, 7), commit),
            (binlog(BinlogType::Rollback, 5, 0), Write::Rollback(StartTs::new(5))),
            (binlog(BinlogType::Rollback, 5, 5), Write::Fake(CommitTs::new(5))),
        ] {
            assert_eq!(decode(&sent).unwrap(), Request::Outcome(Outcome { write, ddl: None }));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |bytes: &'static [u8]| Request::decode(Bytes::from_static(bytes)).unwrap_err();
        assert!(matches!(refused(&[0xff; 3]), Refusal::Undecodable(_)));
        assert_eq!(refused(&[0xff; 3]).to_string(), "unexpected EOF");
        // The original finds nothing wrong with a value that it does not look into.
        let inside = refused(&[0x08, 0, 0x10, 1, 0x2a, 1, 0xff]).to_string();
        assert!(inside.starts_with("proto: "), "{inside}");
        assert!(matches!(
            decode(&Binlog { tp: 9, start_ts: 1, ..Binlog::default() }),
            Err(Refusal::UnknownType(9))
        ));
        for (start, commit) in [(5, 5), (5, 4), (0, 5), (-1, 5), (5, -7)] {
            assert!(
                matches!(decode(&binlog(BinlogType::Commit, start, commit)), Err(Refusal::Timestamps(..))),
                "{start} {commit}"
            );
        }
    }
}
