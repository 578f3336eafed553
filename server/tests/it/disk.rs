//! A disk that runs full: prewrites are refused, all else goes on, and it ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use binlog_proto::store::HelloRequest;
use binlog_server::{FreeSpace, SpaceProbe};
use binlog_types::ByteSize;

use crate::harness::{Root, TestPump, commit, config, joined, prewrite, rollback};

const FULL: u64 = 50;
const ROOM: u64 = 1000;

/// Prewrites until one is refused, or taken; gives why.
async fn until(pump: &mut TestPump, refused: bool) -> Option<String> {
    for _ in 0..100 {
        let p = prewrite(pump.client.ts().await, 1, 10);
        let answer = pump.client.send(&p).await;
        // Nothing is to hold the watermark.
        pump.client.send(&rollback(&p)).await.expect("an outcome is taken");
        if answer.is_err() == refused {
            return answer.err().map(|status| status.message().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("prewrites are still {}", if refused { "taken" } else { "refused" });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_prewrites_collects_garbage_and_recovers() {
    let root = Root::new();
    let available = Arc::new(AtomicU64::new(ROOM));
    let mut settings = config(&root);
    settings.storage.stop_write_at_available_space = ByteSize(FULL);
    settings.gc = "1s".to_owned();
    let told = Arc::clone(&available);
    settings.space =
        SpaceProbe::new(move |_| Ok(FreeSpace { available: told.load(Ordering::Relaxed), capacity: ROOM }));
    let mut pump = TestPump::start_with(root, settings).await;
    let (old, _) = pump.client.transaction(1, 100).await;
    let open = prewrite(pump.client.ts().await, 1, 100);
    pump.client.send(&open).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // The watermark is to pass what may be dropped.
    let c = commit(&open, pump.client.ts().await);
    pump.client.send(&c).await.unwrap();
    let late = prewrite(pump.client.ts().await, 1, 100);
    pump.client.send(&late).await.unwrap();

    available.store(FULL, Ordering::Relaxed);
    let why = until(&mut pump, true).await.unwrap();
    assert_eq!(why, "no available space, available: 50, StopWriteAtAvailableSpace: 50");
    let outcome = commit(&late, pump.client.ts().await);
    pump.client.send(&outcome).await.expect("an outcome is taken");
    let read = pump.client.pull(outcome.commit_ts - 1, outcome.commit_ts);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("reads starve");
    assert_eq!(read, [joined(&late, &outcome)], "reads go on");
    // Nobody asked for it, and no hour has passed.
    let collected = async {
        loop {
            let request = HelloRequest { cluster_id: 0 };
            let hello = pump.client.store.hello(request).await.unwrap().into_inner();
            if hello.safe_point >= old as u64 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), collected).await.expect("no garbage was collected");

    available.store(ROOM, Ordering::Relaxed);
    assert_eq!(until(&mut pump, false).await, None);
    pump.stop().await;
}
