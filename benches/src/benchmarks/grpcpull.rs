//! Reading by the original's protocol.

use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Pos, PullBinlogReq};

use crate::process::Meter;
use crate::report::Report;
use crate::rpc;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let target = session.target()?;
    let (after, wanted) = session.to_read();
    rpc::runtime()?.block_on(async {
        let channel = rpc::connect(&target.addr).await?;
        let mut client = PumpClient::new(channel).max_decoding_message_size(usize::MAX);
        let meter = Meter::start(target.pid)?;
        let start_from = Some(Pos { suffix: 0, offset: after.cast_signed() });
        let request = PullBinlogReq { cluster_id: target.cluster_id, start_from };
        let mut stream = client.pull_binlogs(request).await?.into_inner();
        let (mut records, mut bytes) = (0, 0);
        while records < wanted {
            let Some(response) = stream.message().await? else { break };
            let entity = response.entity.unwrap_or_default();
            let meta = entity.meta.unwrap_or_default();
            // Fillers carry nothing.
            if meta.start_ts != meta.commit_ts {
                records += 1;
                bytes += entity.payload.len() as u64;
            }
        }
        let mut spent = meter.spent()?;
        spent.written = 0;
        let whose = if target.pid.is_some() { "server" } else { "client" };
        Ok(Report::new("grpcpull", records, bytes, &spent)
            .with_note(format!("cpu and memory of the {whose}")))
    })
}
