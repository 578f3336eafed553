//! One transaction of 100 MB among `--threads` writers of small ones.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::fillsync::{work, write_through};
use crate::latency::Latencies;
use crate::load::{Oracle, commit, prewrite};
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store::{self, Waiter};

const LARGE: usize = 100 << 20;
/// How many of them, one after another.
const TIMES: u64 = 3;

/// Half of the work as usual, then the other half with the large ones in between.
pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let store = store::open(&session.store_dir()?)?;
    let oracle = Oracle::above(&store);
    let latencies = Latencies::new();
    let usual_meter = Meter::start(None)?;
    let quiet = Instant::now();
    work(session, &store, &oracle, &latencies, write_through)?;
    let usual_peak = usual_meter.spent()?.peak;
    let body = Bytes::from(body(session.options.seed));
    let meter = Meter::start(None)?;
    let begun = Instant::now();
    let (done, written) = std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            let waiter: Arc<Waiter> = Arc::default();
            for _ in 0..TIMES {
                let start = oracle.next();
                waiter.write(&store, vec![prewrite(start, body.clone())])?;
                let at = oracle.next();
                waiter.write(&store, vec![commit(start, at)])?;
                store::settle(&store, binlog_types::CommitTs::new(at))?;
            }
            anyhow::Ok(Instant::now())
        });
        let written = work(session, &store, &oracle, &latencies, write_through);
        (large.join(), written)
    });
    let done = done.map_err(|_| anyhow::anyhow!("the writer of large ones panicked"))??;
    let written = written?;
    let spent = meter.spent()?;
    store.close()?;
    let (usual, during) = (latencies.between(quiet, begun), latencies.between(begun, done));
    let report = Report::new("filllarge", written.transactions, written.bytes, &spent);
    Ok(report
        .with_latency(latencies.summary())
        .with("large s", (done - begun).as_secs_f64() / TIMES as f64)
        .with("p99 us before", usual.p99 as f64)
        .with("p99 us during", during.p99 as f64)
        .with(
            "peak above usual, of a large one",
            (spent.peak.saturating_sub(usual_peak)) as f64 / LARGE as f64,
        )
        .with_note("an op is a small transaction beside the large ones; latencies are of one small write"))
}

/// Half of it compressible.
fn body(seed: u64) -> Vec<u8> {
    use rand::{RngCore as _, SeedableRng as _};
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    let mut body = vec![b'x'; LARGE];
    for piece in body.chunks_mut(1024) {
        let half = piece.len() / 2;
        rng.fill_bytes(&mut piece[..half]);
    }
    body
}
