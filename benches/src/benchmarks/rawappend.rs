//! The writers' baseline: the same payloads by as many writers, compressed as the store compresses a batch, appended to a
//! file and synced in batches as large as the last fill's, with nothing else around it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use parking_lot::{Condvar, Mutex};
use rustix::fs::{FallocateFlags, fallocate};
use zstd_safe::{CCtx, CParameter};

use crate::latency::Latencies;
use crate::load;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;

/// As the store does it.
const LEVEL: i32 = 1;
const PREALLOCATE: u64 = 64 << 20;

/// Where one writer waits: as a writer of the store does, for a wake-up of its own.
#[derive(Default)]
struct Seat {
    outcome: Mutex<Option<Result<(), String>>>,
    wake: Condvar,
}

impl Seat {
    fn tell(&self, outcome: Result<(), String>) {
        *self.outcome.lock() = Some(outcome);
        self.wake.notify_one();
    }

    fn wait(&self) -> anyhow::Result<()> {
        let mut outcome = self.outcome.lock();
        loop {
            match outcome.take() {
                Some(told) => return told.map_err(|reason| anyhow!("append: {reason}")),
                None => self.wake.wait(&mut outcome),
            }
        }
    }
}

#[derive(Default)]
struct State {
    waiting: Vec<(Vec<u8>, Arc<Seat>)>,
    /// The appender sleeps until there are so many.
    awaits: usize,
    /// Writers still at work: a batch never waits for more.
    writers: usize,
    failed: Option<String>,
}

#[derive(Default)]
struct Group {
    state: Mutex<State>,
    arrived: Condvar,
}

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let options = &session.options;
    let like = session.reports.iter().rev().find_map(|report| report.figures.get("writes/batch"));
    let batch = like.map_or(options.writers() / 2, |mean| mean.round() as usize).max(1);
    let path = session.store_dir()?.join("rawappend.tmp");
    let mut log = Log::create(&path)?;
    let group = Group::default();
    group.state.lock().writers = options.writers();
    let meter = Meter::start(None)?;
    let latencies = Latencies::new();
    let (done, appended) = std::thread::scope(|scope| {
        let appender = scope.spawn(|| append(&group, &mut log, batch));
        let done = load::writers(options, |number, mut quota| {
            let mut payloads = load::payloads(options, number);
            let mut recorder = latencies.recorder();
            let seat = Arc::new(Seat::default());
            let (mut transactions, mut bytes) = (0, 0);
            let mut outcome = Ok(());
            while outcome.is_ok() && quota.next() {
                let start = (transactions << 16) + number as u64;
                let payload = payloads.body(start).to_vec();
                transactions += 1;
                bytes += payload.len() as u64;
                for data in [payload, start.to_be_bytes().to_vec()] {
                    let begun = Instant::now();
                    outcome = outcome.and_then(|()| group.write(data, &seat));
                    recorder.ended(begun);
                }
            }
            group.leave();
            outcome.map(|()| (transactions, bytes))
        });
        (done, appender.join())
    });
    std::fs::remove_file(&path)?;
    let batches = appended.map_err(|_| anyhow!("the appender panicked"))??;
    let (transactions, bytes) = done?.into_iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let report = Report::new("rawappend", transactions, bytes, &meter.spent()?);
    Ok(report
        .with_latency(latencies.summary())
        .with("writes/batch", 2.0 * transactions as f64 / batches.max(1) as f64))
}

impl Group {
    /// Hands data over and waits until it is synced.
    fn write(&self, data: Vec<u8>, seat: &Arc<Seat>) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.failed {
            return Err(anyhow!("append: {reason}"));
        }
        state.waiting.push((data, Arc::clone(seat)));
        let enough = state.waiting.len() >= state.awaits;
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        seat.wait()
    }

    /// A writer has done its work.
    fn leave(&self) {
        self.state.lock().writers -= 1;
        self.arrived.notify_one();
    }

    /// The next batch: of `size` writes, or of what the writers that are left can bring. Empty when nobody is left.
    fn take(&self, size: usize) -> Vec<(Vec<u8>, Arc<Seat>)> {
        let mut state = self.state.lock();
        loop {
            let wanted = size.min(state.writers).max(1);
            if state.waiting.len() >= wanted || state.writers == 0 {
                return std::mem::take(&mut state.waiting);
            }
            state.awaits = wanted;
            self.arrived.wait(&mut state);
        }
    }

    /// Nobody is served any more.
    fn fail(&self, reason: &str) {
        let mut state = self.state.lock();
        state.failed = Some(reason.to_owned());
        for (_, seat) in state.waiting.drain(..) {
            seat.tell(Err(reason.to_owned()));
        }
    }
}

/// Appends batches until nobody is left; returns how many.
fn append(group: &Group, log: &mut Log, size: usize) -> anyhow::Result<u64> {
    let mut batches = 0;
    let mut joined = Vec::new();
    loop {
        let batch = group.take(size);
        if batch.is_empty() {
            return Ok(batches);
        }
        batches += 1;
        joined.clear();
        for (data, _) in &batch {
            joined.extend_from_slice(data);
        }
        let outcome = log.append(&joined);
        let told = outcome.as_ref().map(|_| ()).map_err(|error| format!("{error:#}"));
        for (_, seat) in batch {
            seat.tell(told.clone());
        }
        if let Err(error) = outcome {
            group.fail(&format!("{error:#}"));
            return Err(error);
        }
    }
}

struct Log {
    file: File,
    context: CCtx<'static>,
    compressed: Vec<u8>,
    length: u64,
    allocated: u64,
}

impl Log {
    fn create(path: &std::path::Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let mut context = CCtx::create();
        for parameter in [CParameter::CompressionLevel(LEVEL), CParameter::ChecksumFlag(true)] {
            context.set_parameter(parameter).map_err(zstd)?;
        }
        Ok(Log { file, context, compressed: Vec::new(), length: 0, allocated: 0 })
    }

    fn append(&mut self, batch: &[u8]) -> anyhow::Result<()> {
        self.compressed.resize(zstd_safe::compress_bound(batch.len()), 0);
        let length = self.context.compress2(&mut self.compressed[..], batch).map_err(zstd)?;
        while self.length + length as u64 > self.allocated {
            fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.allocated, PREALLOCATE)?;
            self.allocated += PREALLOCATE;
        }
        self.file.write_all(&self.compressed[..length])?;
        self.length += length as u64;
        Ok(self.file.sync_data()?)
    }
}

fn zstd(code: usize) -> anyhow::Error {
    anyhow!("zstd: {}", zstd_safe::get_error_name(code))
}
