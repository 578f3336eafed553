//! The memory of a pump does not follow what drainers do: neither how many take a large transaction at once, nor how slow one is.

use std::path::Path;
use std::time::Duration;

use binlog_proto::binlog::{Pos, PullBinlogReq};
use binlog_testkit::Process;
use futures::future::join_all;
use tokio::time::timeout;

use crate::harness::{Client, Root, text};

const PATIENCE: Duration = Duration::from_secs(120);
const MIB: usize = 1 << 20;
const LARGE: usize = 48 * MIB;
const DRAINERS: usize = 16;

/// One of these at a time: what they measure depends on how fast readers and the disk are.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn start(root: &Root, port: u16) -> (Process, Client) {
    let addr = format!("127.0.0.1:{port}");
    let file = root.0.path().join("pump.toml");
    std::fs::write(&file, "[storage]\nstop-write-at-available-space = \"0\"\n").unwrap();
    let args = [
        ["-config", &text(&file)],
        ["-addr", &addr],
        ["-cluster-dir", &text(&root.cluster_dir())],
        ["-data-dir", &text(&root.data_dir())],
    ];
    let mut process = Process::start(Path::new(env!("CARGO_BIN_EXE_pump")), args.as_flattened()).unwrap();
    process.wait_for_output("pump is online", PATIENCE).unwrap();
    (process, Client::connect(&addr).await)
}

/// The memory that it uses now, in bytes.
async fn in_use(addr: &str) -> usize {
    let reply = crate::http::request(addr, "GET", "/metrics").await;
    let line = reply.lines().find_map(|line| line.strip_prefix("go_memstats_alloc_bytes ")).unwrap();
    line.parse::<f64>().unwrap() as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_drainers_of_a_large_transaction_and_a_slow_one_cost_little() {
    let _alone = ALONE.lock().await;
    let root = Root::new();
    let port = binlog_testkit::free_port();
    let (mut process, mut client) = start(&root, port).await;
    let mut expected = Vec::new();
    let mut last = 0;
    for bytes in [LARGE, 2 * MIB, 2 * MIB, LARGE] {
        let (commit_ts, joined) = client.transaction(1, bytes).await;
        expected.push(joined.len());
        last = commit_ts;
    }
    // The writes left memory behind: count from here.
    assert!(process.stop(PATIENCE).unwrap().success());
    let (_process, client) = start(&root, port).await;
    let addr = format!("127.0.0.1:{port}");
    let before = in_use(&addr).await;

    // One takes the first message, and then nothing for as long as the others read.
    let mut slow = client.clone();
    let start_from = Some(Pos { suffix: 0, offset: 0 });
    let request = PullBinlogReq { cluster_id: slow.hello.cluster_id, start_from };
    let mut slow = slow.pump.pull_binlogs(request).await.unwrap().into_inner();
    assert!(slow.message().await.unwrap().is_some());
    // Their own connections: on one of them they would share its window.
    let drainers = join_all((0..DRAINERS).map(|_| Client::connect(&addr))).await;
    let reads = drainers.into_iter().map(|mut drainer| async move { drainer.pull(0, last).await });
    let mut reading = std::pin::pin!(timeout(PATIENCE, join_all(reads)));
    let mut peak = 0;
    let all = loop {
        tokio::select! {
            all = &mut reading => break all.expect("some drainer starves"),
            now = in_use(&addr) => peak = peak.max(now.saturating_sub(before)),
        }
    };
    for pulled in all {
        assert_eq!(pulled.iter().map(bytes::Bytes::len).collect::<Vec<_>>(), expected);
    }
    // Pieces, whole, and as a message, and what the store reads through: for one of them at a time, not for each.
    println!("{} MiB more than before", peak / MIB);
    assert!(peak > LARGE && peak < DRAINERS * LARGE, "{} MiB more than before", peak / MIB);
    assert!(slow.message().await.unwrap().is_some());
}

/// A figure of the engine.
async fn figure(addr: &str, name: &str) -> usize {
    let reply = crate::http::request(addr, "GET", "/metrics").await;
    let name = format!("binlog_pump_storage_{name} ");
    let value = reply.lines().find_map(|line| line.strip_prefix(&*name)).unwrap();
    value.parse::<f64>().unwrap() as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_prewrites_at_once_wait_outside() {
    let _alone = ALONE.lock().await;
    const WRITERS: usize = 20;
    /// What requests may take.
    const BUDGET: usize = 256 * MIB;
    /// Prewrites that have been written and are not in files yet, a few times over.
    const ENGINE: usize = 1280 * MIB;
    let root = Root::new();
    let port = binlog_testkit::free_port();
    let (_process, mut client) = start(&root, port).await;
    let addr = format!("127.0.0.1:{port}");
    let before = in_use(&addr).await;
    let mut prewrites = Vec::new();
    for _ in 0..WRITERS {
        prewrites.push(crate::harness::prewrite(client.ts().await, 1, LARGE));
    }
    // Half of them over one connection: those that wait must not keep it from those that are on their way.
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        writers.push(if n % 2 == 0 { client.clone() } else { Client::connect(&addr).await });
    }
    let sent = join_all(writers.iter_mut().zip(&prewrites).map(|(writer, p)| writer.send(p)));
    let mut sending = std::pin::pin!(timeout(PATIENCE, sent));
    let (mut peak, mut queued) = (0, 0);
    let answers = loop {
        tokio::select! {
            answers = &mut sending => break answers.expect("some writer starves"),
            now = in_use(&addr) => {
                peak = peak.max(now.saturating_sub(before));
                queued = queued.max(figure(&addr, "queued_bytes").await);
                // A small one is not kept waiting.
                let p = crate::harness::prewrite(client.ts().await, 1, 100);
                timeout(Duration::from_secs(20), client.send(&p)).await.expect("a small one starves").unwrap();
            }
        }
    };
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    println!("{} MiB more than before, {} MiB of it requests", peak / MIB, queued / MIB);
    assert!(queued > LARGE && queued <= BUDGET, "{} MiB queued", queued / MIB);
    // Besides, the engine has what it took and what it is about to make files of, however many wait.
    assert!(peak < BUDGET + ENGINE, "{} MiB more than before", peak / MIB);
    assert_eq!(figure(&addr, "queued_bytes").await, 0);
}
