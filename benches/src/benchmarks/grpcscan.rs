//! Reading by our own protocol.

use binlog_proto::store::ScanRequest;
use binlog_proto::store::store_client::StoreClient;

use crate::process::Meter;
use crate::report::Report;
use crate::rpc;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let target = session.target()?;
    let (after, wanted) = session.to_read();
    rpc::runtime()?.block_on(async {
        let channel = rpc::connect(&target.addr).await?;
        let mut client = StoreClient::new(channel).max_decoding_message_size(usize::MAX);
        let meter = Meter::start(target.pid)?;
        let request =
            ScanRequest { cluster_id: target.cluster_id, after, follow: true, ..ScanRequest::default() };
        let mut stream = client.scan(request).await?.into_inner();
        let (mut records, mut bytes) = (0, 0);
        while records < wanted {
            let Some(response) = stream.message().await? else { break };
            records += response.fragments.iter().filter(|f| f.last).count() as u64;
            bytes += response.fragments.iter().map(|f| f.payload.len() as u64).sum::<u64>();
        }
        let mut spent = meter.spent()?;
        spent.written = 0;
        let whose = if target.pid.is_some() { "server" } else { "client" };
        Ok(Report::new("grpcscan", records, bytes, &spent)
            .with_note(format!("cpu and memory of the {whose}")))
    })
}
