//! Pulling from an original pump: `binlog.Pump/PullBinlogs`, one whole transaction a message.
//!
//! It never says how far it is complete: that is the last commit_ts received (its fillers come every few seconds), and it jumps over what it has
//! purged without a word.

use std::sync::Arc;

use binlog_catalog::Blob as _;
use binlog_proto::binlog::pump_client::PumpClient as OriginalClient;
use binlog_proto::binlog::{Binlog, Pos, PullBinlogReq};
use binlog_proto::{Body, split_prewrite};
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};

use crate::budget::Permit;
use crate::record::{Held, RECORD_OVERHEAD};
use crate::source::Run;
use crate::spool::LARGE;
use crate::{Error, PumpClient, Record};

/// How a stream of messages ended.
enum End {
    /// The range is done, or the one message is here.
    Done,
    /// A message is larger than what is taken in without further ado; it was not read.
    TooLarge,
}

/// Pulls over one connection until the range is done or the stream breaks.
pub(crate) async fn pull(run: &Run) -> Result<(), Error> {
    let (pump, host) = (run.pump(), &run.inbox.member.host);
    let client = PumpClient::dial_original(pump, host, run.options.cluster, &run.options.dial).await?;
    tracing::info!(after = %run.inbox.position(), "the pump has no range service: pulling as the original drainer does; it cannot say whether binlogs after this position were purged");
    // Without a place to put it aside, what is large stays in memory until it is applied; that may have to wait for another pump's.
    let most = if run.options.spool.is_some() { LARGE } else { usize::MAX };
    loop {
        match receive(run, &client, most, None).await? {
            End::Done => return Ok(()),
            End::TooLarge => {
                // Before the turn: whoever has it must not wait for what the merge hands out.
                let (mut permit, mut aside) = (Permit::default(), Permit::default());
                run.admit(&mut permit, RECORD_OVERHEAD).await;
                run.admit_aside(&mut aside, LARGE).await;
                run.inbox.says("waiting until a large transaction of another pump is put aside", true);
                let _turn = run.options.turn.acquire().await;
                tracing::warn!(after = %run.inbox.position(), "the next transaction is large and comes in one message: it is taken into memory, alone, and put aside");
                receive(run, &client, usize::MAX, Some((permit, aside))).await?;
                if run.is_done() {
                    return Ok(());
                }
            }
        }
    }
}

/// Receives messages of at most `most` bytes; with permits for what stays in memory and what is put aside, one.
async fn receive(
    run: &Run,
    client: &PumpClient,
    most: usize,
    mut aside: Option<(Permit, Permit)>,
) -> Result<End, Error> {
    let mut original = OriginalClient::new(client.channel.clone()).max_decoding_message_size(most);
    if run.options.dial.gzip {
        // Go's server answers in the encoding of the request.
        original =
            original.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    let start = Pos { suffix: 0, offset: run.inbox.position().as_i64() };
    let request = PullBinlogReq { cluster_id: run.options.cluster.0, start_from: Some(start) };
    let failed = |status| Error::from_status(run.pump(), &client.host, run.inbox.position(), status);
    let mut stream = original.pull_binlogs(request).await.map_err(failed)?.into_inner();
    run.inbox.says("connected (PullBinlogs), waiting for its next binlog", true);
    loop {
        let response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Err(Error::Ended { pump: run.pump().clone(), host: client.host.clone() }),
            Err(status) if most < usize::MAX && is_too_large(&status) => return Ok(End::TooLarge),
            Err(status) => return Err(failed(status)),
        };
        let entity = response.entity.unwrap_or_default();
        let (mut record, body) =
            read(entity.payload, run.inbox.position()).map_err(|what| run.corrupt(what))?;
        let commit_ts = record.commit_ts;
        let wanted = run.options.through.is_none_or(|through| commit_ts <= through) && !record.is_fake();
        match (aside.take(), &run.options.spool) {
            (Some((mut permit, mut aside)), Some(directory)) if wanted => {
                let spool = directory.create().await.map_err(Error::aside)?;
                let spool = spool.append(pieces(body)).await.map_err(Error::aside)?;
                aside.raise(spool.len() as usize);
                permit.put_aside(aside);
                run.put(Held { large: Some(Arc::new(spool)), ..Held::new(record, permit) });
                run.inbox.advance(commit_ts);
                return Ok(End::Done);
            }
            _ if wanted => {
                record.payload = body.encode_to_vec().into();
                let mut permit = Permit::default();
                run.admit(&mut permit, record.cost()).await;
                run.put(Held::new(record, permit));
            }
            _ => {}
        }
        run.inbox.advance(commit_ts);
        if run.is_done() {
            return Ok(End::Done);
        }
    }
}

/// The client's own refusals, before it reads a message, and while it unpacks one.
fn is_too_large(status: &Status) -> bool {
    let says = |text| status.message().contains(text);
    match status.code() {
        Code::OutOfRange => says("message length too large"),
        Code::ResourceExhausted => says("exceeded while decompressing"),
        _ => false,
    }
}

/// A body as it is encoded, without a second copy of its rows.
fn pieces(mut body: Body) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    if let Some(value) = body.prewrite_value.take() {
        let mut head = vec![0x2a];
        prost::encoding::encode_varint(value.len() as u64, &mut head);
        pieces.extend([head.into(), value]);
    }
    pieces.push(body.encode_to_vec().into());
    pieces
}

/// The record in the payload of an entity, and its payload before it is encoded.
fn read(payload: Bytes, after: CommitTs) -> Result<(Record, Body), String> {
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
    let extra = binlog.prewrite_key.unwrap_or_default();
    Ok((Record { start_ts, commit_ts, schema_version, extra, payload: Bytes::new() }, body))
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
        let (mut record, body) = read(payload(6, 8), CommitTs::new(7)).unwrap();
        let whole = body.encode_to_vec();
        assert_eq!(pieces(body).concat(), whole);
        record.payload = whole.into();
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
