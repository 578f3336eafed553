//! Pulling from an original pump: `binlog.Pump/PullBinlogs`, one whole transaction a message.
//!
//! It never says how far it is complete: that is the last commit_ts received (its fillers come every few seconds), and it jumps over what it has
//! purged without a word.

use binlog_proto::binlog::pump_client::PumpClient as OriginalClient;
use binlog_proto::binlog::{Binlog, Pos, PullBinlogReq};
use binlog_proto::split_prewrite;
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;
use prost::Message as _;
use tonic::codec::CompressionEncoding;

use crate::budget::Permit;
use crate::record::{Held, RECORD_OVERHEAD};
use crate::source::Run;
use crate::{Error, PumpClient, Record};

/// Pulls over the connection of `client` until the range is done or the stream breaks.
pub(crate) async fn pull(run: &Run, client: &PumpClient) -> Result<(), Error> {
    let after = run.inbox.position();
    tracing::info!(%after, "the pump has no range service: pulling as the original drainer does; it cannot say whether binlogs after this position were purged");
    let mut original = OriginalClient::new(client.channel.clone()).max_decoding_message_size(usize::MAX);
    if run.options.dial.gzip {
        // Go's server answers in the encoding of the request.
        original =
            original.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    let start = Pos { suffix: 0, offset: after.as_i64() };
    let request = PullBinlogReq { cluster_id: run.options.cluster.0, start_from: Some(start) };
    let status =
        |status| Error::from_status(&run.inbox.member.id, &client.host, run.inbox.position(), status);
    let mut stream = original.pull_binlogs(request).await.map_err(status)?.into_inner();
    run.inbox.says("connected (PullBinlogs), waiting for its next binlog", true);
    while let Some(response) = stream.message().await.map_err(status)? {
        let entity = response.entity.unwrap_or_default();
        let record = read(entity.payload, run.inbox.position()).map_err(|what| run.corrupt(what))?;
        let (commit_ts, mut permit) = (record.commit_ts, Permit::default());
        if run.options.through.is_none_or(|through| commit_ts <= through) && !record.is_fake() {
            run.admit(&mut permit, RECORD_OVERHEAD + record.extra.len() + record.payload.len()).await;
            run.put(Held { record, permit });
        }
        run.inbox.advance(commit_ts);
        if run.is_done() {
            return Ok(());
        }
    }
    Err(Error::Ended { pump: run.inbox.member.id.clone(), host: client.host.clone() })
}

/// The record in the payload of an entity.
fn read(payload: Bytes, after: CommitTs) -> Result<Record, String> {
    let binlog = Binlog::decode(payload).map_err(|e| format!("undecodable binlog: {e}"))?;
    let (start_ts, commit_ts) = match (u64::try_from(binlog.start_ts), u64::try_from(binlog.commit_ts)) {
        (Ok(start), Ok(commit)) if start <= commit => (StartTs::new(start), CommitTs::new(commit)),
        _ => {
            return Err(format!("start_ts {} and commit_ts {} cannot be", binlog.start_ts, binlog.commit_ts));
        }
    };
    if commit_ts <= after {
        return Err(format!("commit_ts {commit_ts} does not follow"));
    }
    let body = split_prewrite(&binlog);
    let schema_version =
        SchemaVersion(body.schema_version().map_err(|e| format!("start_ts {start_ts}: {e}"))?);
    Ok(Record {
        start_ts,
        commit_ts,
        schema_version,
        extra: binlog.prewrite_key.unwrap_or_default(),
        payload: body.encode_to_vec().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(start_ts: i64, commit_ts: i64) -> Bytes {
        let binlog = Binlog {
            tp: 1,
            start_ts,
            commit_ts,
            prewrite_key: Some(Bytes::from_static(b"k")),
            prewrite_value: Some(Bytes::from_static(&[0x08, 42])),
            ..Binlog::default()
        };
        binlog.encode_to_vec().into()
    }

    #[test]
    fn an_entity_becomes_what_the_range_service_sends() {
        let record = read(payload(6, 8), CommitTs::new(7)).unwrap();
        assert_eq!((record.start_ts.raw(), record.commit_ts.raw(), record.schema_version.0), (6, 8, 42));
        assert_eq!(record.extra, Bytes::from_static(b"k"));
        assert_eq!(record.body().unwrap().prewrite_value.unwrap(), Bytes::from_static(&[0x08, 42]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(read(payload(6, 7), CommitTs::new(7)).is_err());
        assert!(read(payload(9, 8), CommitTs::new(7)).is_err());
        assert!(read(payload(-1, 8), CommitTs::new(7)).is_err());
        assert!(read(Bytes::from_static(&[0xff]), CommitTs::new(7)).is_err());
    }
}
