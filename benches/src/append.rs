//! The writers' baseline: the same payloads, appended to a file and synced in batches, with nothing else around it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;
use parking_lot::{Condvar, Mutex};

use crate::options::Options;
use crate::payload::Payloads;
use crate::process::Usage;
use crate::report::{Report, histogram};
use crate::store::FIRST_TS;

#[derive(Default)]
struct Queue {
    waiting: Vec<Vec<u8>>,
    /// Batches begun and done: a writer waits until the batch after the one that was under way when it came is done.
    batch: u64,
    done: u64,
    closed: bool,
}

/// Append and fdatasync of whatever waits, one batch after another; two writes an operation, as P and C are.
pub(crate) fn rawappend(options: &Options) -> anyhow::Result<Report> {
    let dir = options.store_dir()?;
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("rawappend.log");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let shared = Arc::new((Mutex::new(Queue::default()), Condvar::new(), Condvar::new()));
    let before = Usage::of(None)?;
    let begun = Instant::now();
    let each = options.num / options.threads.max(1) as u64;
    let outcomes: Vec<anyhow::Result<(Histogram<u64>, u64)>> = std::thread::scope(|scope| {
        let appender = scope.spawn(|| append_batches(&mut file, &shared));
        let writers: Vec<_> = (0..options.threads.max(1) as u64)
            .map(|i| {
                let shared = Arc::clone(&shared);
                scope.spawn(move || one_writer(&shared, options, i, each))
            })
            .collect();
        let mut outcomes: Vec<_> = writers
            .into_iter()
            .map(|w| w.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked")))
            .collect();
        shared.0.lock().closed = true;
        shared.1.notify_one();
        if let Ok(Err(error)) = appender.join() {
            outcomes.push(Err(error.into()));
        }
        outcomes
    });
    let elapsed = begun.elapsed();
    let usage = Usage::of(None)?.since(before);
    std::fs::remove_file(&path)?;
    let mut all = histogram()?;
    let mut payload = 0;
    for outcome in outcomes {
        let (one, bytes) = outcome?;
        all.add(one)?;
        payload += bytes;
    }
    let report = Report::new("rawappend", all.len() / 2, payload, elapsed, usage);
    Ok(report.with_latency(&all).with_note("baseline: append + fdatasync of the same bytes, uncompressed"))
}

fn append_batches(
    file: &mut std::fs::File,
    shared: &(Mutex<Queue>, Condvar, Condvar),
) -> std::io::Result<()> {
    let (queue, arrived, finished) = shared;
    loop {
        let (batch, number) = {
            let mut queue = queue.lock();
            while queue.waiting.is_empty() {
                if queue.closed {
                    return Ok(());
                }
                arrived.wait(&mut queue);
            }
            queue.batch += 1;
            (std::mem::take(&mut queue.waiting), queue.batch)
        };
        file.write_all(&batch.concat())?;
        file.sync_data()?;
        queue.lock().done = number;
        finished.notify_all();
    }
}

fn one_writer(
    shared: &(Mutex<Queue>, Condvar, Condvar),
    options: &Options,
    writer: u64,
    count: u64,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let (queue, arrived, finished) = shared;
    let mut payloads = Payloads::new(options.seed ^ writer << 32, options.value_size);
    let mut histogram = histogram()?;
    let mut bytes = 0;
    let mut timed = |data: Vec<u8>| {
        let begun = Instant::now();
        let mut queue = queue.lock();
        queue.waiting.push(data);
        let mine = queue.batch + 1;
        arrived.notify_one();
        while queue.done < mine {
            finished.wait(&mut queue);
        }
        drop(queue);
        histogram.saturating_record(begun.elapsed().as_micros() as u64);
    };
    for i in 0..count {
        let start = FIRST_TS + (i * options.threads as u64 + writer) * 2;
        let payload = payloads.body(start);
        bytes += payload.len() as u64;
        timed(payload.to_vec());
        timed(start.to_be_bytes().to_vec());
    }
    Ok((histogram, bytes))
}
