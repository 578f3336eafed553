//! What a pump answers to `PullBinlogs`.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Pos, PullBinlogReq};
use bytes::Bytes;

/// The payloads from the beginning until the pump has sent a filler at or past `until`; fillers are left out.
///
/// # Errors
/// When the pump breaks off, or does not get there within `limit`.
pub async fn pull_all(port: u16, cluster_id: u64, until: i64, limit: Duration) -> anyhow::Result<Vec<Bytes>> {
    let client = PumpClient::connect(format!("http://127.0.0.1:{port}")).await?;
    let mut client = client.max_decoding_message_size(usize::MAX);
    let request = PullBinlogReq { cluster_id, start_from: Some(Pos { suffix: 0, offset: 0 }) };
    let mut stream = client.pull_binlogs(request).await?.into_inner();
    let mut payloads = Vec::new();
    let mut last = 0;
    tokio::time::timeout(limit, async {
        loop {
            let response = stream.message().await?.context("the pump ended the stream")?;
            let entity = response.entity.context("an answer without an entity")?;
            let meta = entity.meta.context("an entity without meta")?;
            ensure!(meta.commit_ts > last, "commit_ts {} came after {last}", meta.commit_ts);
            last = meta.commit_ts;
            if meta.start_ts != meta.commit_ts {
                payloads.push(entity.payload);
            }
            if last >= until {
                return Ok(payloads);
            }
        }
    })
    .await
    .with_context(|| format!("no answer at or past {until} within {limit:?}; the last was {last}"))?
}
