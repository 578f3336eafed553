//! One request for many callers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use binlog_types::Ts;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// How many timestamps one request asks for at most; a millisecond of the oracle has 2^18.
pub(crate) const MAX_COUNT: u32 = 10_000;

/// Consecutive timestamps, `step` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) last: Ts,
    pub(crate) count: u32,
    pub(crate) step: u64,
}

impl Block {
    /// The timestamp number `n` from the front.
    pub(crate) fn nth(&self, n: u32) -> Ts {
        let behind = u64::from(self.count.saturating_sub(1).saturating_sub(n));
        Ts::new(self.last.raw().saturating_sub(behind.saturating_mul(self.step)))
    }

    /// Cuts `count` off the front, `from` having been cut off before.
    fn part(&self, from: u32, count: u32) -> Block {
        Block { last: self.nth(from + count - 1), count, step: self.step }
    }
}

/// Where blocks come from. It retries by itself, and gives up in the end.
pub(crate) trait Source: Send + 'static {
    /// Fetches `count` timestamps, all of them handed out after the call began.
    fn take(&mut self, count: u32) -> impl Future<Output = Result<Block, Error>> + Send;
}

struct Waiter {
    count: u32,
    reply: oneshot::Sender<Result<Block, Error>>,
}

/// Shares requests between callers: while one is under way, those who come gather for the next.
#[derive(Clone)]
pub(crate) struct Batcher {
    start: Arc<dyn Fn(mpsc::UnboundedReceiver<Waiter>) + Send + Sync>,
    queue: Arc<Mutex<Option<mpsc::UnboundedSender<Waiter>>>>,
}

impl fmt::Debug for Batcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Batcher")
    }
}

impl Batcher {
    /// The worker starts with the first call, on that caller's runtime, and again if that runtime went away. It ends with the
    /// last clone of this.
    pub(crate) fn new<S: Source>(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let start = move |queue| {
            tokio::spawn(work(make(), queue));
        };
        Batcher { start: Arc::new(start), queue: Arc::default() }
    }

    /// `count` timestamps, at most [`MAX_COUNT`].
    pub(crate) async fn take(&self, count: u32) -> Result<Block, Error> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Waiter { count: count.clamp(1, MAX_COUNT), reply });
        answer.await.map_err(|_| Error::Stopped("timestamp client"))?
    }

    fn enqueue(&self, waiter: Waiter) {
        let mut queue = self.queue.lock();
        let waiter = match queue.as_ref() {
            Some(sender) => match sender.send(waiter) {
                Ok(()) => return,
                Err(mpsc::error::SendError(waiter)) => waiter,
            },
            None => waiter,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        // It cannot fail: the receiver is right here.
        let _ = sender.send(waiter);
        (self.start)(receiver);
        *queue = Some(sender);
    }
}

async fn work<S: Source>(mut source: S, mut queue: mpsc::UnboundedReceiver<Waiter>) {
    let mut left_over: Option<Waiter> = None;
    loop {
        let Some(first) = (match left_over.take() {
            Some(waiter) => Some(waiter),
            None => queue.recv().await,
        }) else {
            return;
        };
        let mut count = first.count;
        let mut batch = vec![first];
        while let Ok(waiter) = queue.try_recv() {
            if waiter.reply.is_closed() {
                continue;
            }
            if count + waiter.count > MAX_COUNT {
                left_over = Some(waiter);
                break;
            }
            count += waiter.count;
            batch.push(waiter);
        }
        let answer = source.take(count).await;
        let mut used = 0;
        for waiter in batch {
            let part = answer.as_ref().map(|block| block.part(used, waiter.count)).map_err(Clone::clone);
            used += waiter.count;
            // Who has gone needs no answer.
            let _ = waiter.reply.send(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    struct Counter {
        next: u64,
        requests: Arc<AtomicU32>,
    }

    impl Source for Counter {
        async fn take(&mut self, count: u32) -> Result<Block, Error> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.next += u64::from(count) * 4;
            Ok(Block { last: Ts::new(self.next), count, step: 4 })
        }
    }

    #[tokio::test]
    async fn callers_share_requests_and_nothing_is_handed_out_twice() {
        let requests = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&requests);
        let batcher = Batcher::new(move || Counter { next: 0, requests: Arc::clone(&counted) });
        let calls = (0..1000u32).map(|n| {
            let batcher = batcher.clone();
            tokio::spawn(async move {
                let block = batcher.take(1 + n % 3).await.unwrap();
                (0..block.count).map(|n| block.nth(n)).collect::<Vec<_>>()
            })
        });
        let mut seen = BTreeSet::new();
        for call in calls.collect::<Vec<_>>() {
            for ts in call.await.unwrap() {
                assert!(seen.insert(ts), "{ts} came twice");
            }
        }
        assert_eq!(seen.len(), 1999);
        assert!(requests.load(Ordering::Relaxed) < 20, "{requests:?}");
    }

    #[test]
    fn the_worker_outlives_its_first_runtime() {
        let batcher = Batcher::new(|| Counter { next: 0, requests: Arc::default() });
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            assert_eq!(runtime.block_on(batcher.take(1)).unwrap().last, Ts::new(4));
        }
    }
}
