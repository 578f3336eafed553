//! Pulling from a pump that has no range service.

use binlog_proto::binlog::Binlog;
use binlog_pull::{Member, MergedStream};
use binlog_testkit::OriginalPump;
use binlog_types::NodeId;
use bytes::Bytes;

use crate::stream::options;

/// A filler every 10.
fn binlog(commit_ts: i64) -> Binlog {
    let fake = commit_ts % 10 == 0;
    Binlog {
        tp: if fake { 2 } else { 1 },
        start_ts: if fake { commit_ts } else { commit_ts - 1 },
        commit_ts,
        prewrite_value: (!fake).then(|| Bytes::from_static(&[0x08, 42])),
        ..Binlog::default()
    }
}

#[tokio::test]
async fn an_original_pump_is_pulled_through_its_own_service() {
    let pump = OriginalPump::new((1..100).map(binlog)).of_cluster(7).ending_after(2);
    let host = pump.serve().await.unwrap();
    let member = Member { id: NodeId::new("original").unwrap(), host };

    let mut stream = MergedStream::new(options(4, Some(11)), vec![member.clone()]);
    let mut commits = Vec::new();
    loop {
        let batch = stream.next().await.unwrap();
        commits.extend(batch.records.iter().map(|r| r.commit_ts.raw()));
        assert!(batch.records.iter().all(|r| r.schema_version.0 == 42));
        if batch.end {
            assert_eq!(batch.complete_through.raw(), 11);
            break;
        }
    }
    assert_eq!(commits, [5, 6, 7, 8, 9, 11]);

    let mut foreign = options(4, Some(11));
    foreign.cluster.0 = 8;
    let error = MergedStream::new(foreign, vec![member]).next().await.unwrap_err();
    assert!(matches!(error, binlog_pull::Error::WrongCluster { .. }), "{error}");
}
