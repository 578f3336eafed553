//! How many bytes of requests are in the process at once, from when a client announces them until they are answered.
//!
//! A message says its length in its first bytes. One that is not small takes its share of the budget then, before the rest of it is
//! read; while there is none left, the flow control of HTTP/2 holds its client. Small ones pass: they are as many as there are
//! sessions, and fit into what their connections buffer anyhow. So a disk that stalls makes clients wait, not memory grow.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, ready};

use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The smallest message that takes a share.
const LEAST: u32 = 16 << 10;
/// A flag and the length, big-endian.
const PREFIX: usize = 5;

/// The budget of a process.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// In KiB, since the semaphore counts in 32 bits.
    room: Arc<Semaphore>,
    all: u32,
}

/// A request's share, once it has one; given back when this is dropped.
pub(crate) type Share = Arc<OnceLock<OwnedSemaphorePermit>>;

impl Budget {
    /// For so many MiB.
    pub(crate) fn new(mib: u32) -> Self {
        let all = mib.saturating_mul(1 << 10).max(1);
        Budget { room: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> u64 {
        (self.all as usize).saturating_sub(self.room.available_permits()) as u64 * 1024
    }

    /// A body that takes its share before it is read, and the share.
    pub(crate) fn guard<B>(&self, body: B) -> (Body, Share)
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let share = Share::default();
        let guarded = Guarded {
            data: Body::new(body).into_data_stream(),
            prefix: Prefix::default(),
            room: Arc::clone(&self.room),
            all: self.all,
            share: Arc::clone(&share),
            waiting: None,
        };
        (Body::from_stream(guarded), share)
    }
}

/// The first bytes of a message, in however many pieces they come.
#[derive(Default)]
struct Prefix {
    bytes: [u8; PREFIX],
    seen: usize,
}

impl Prefix {
    /// The length, when `data` completes the prefix.
    fn complete(&mut self, data: &[u8]) -> Option<u32> {
        if self.seen == PREFIX {
            return None;
        }
        let wanted = data.len().min(PREFIX - self.seen);
        self.bytes[self.seen..self.seen + wanted].copy_from_slice(&data[..wanted]);
        self.seen += wanted;
        let [_, a, b, c, d] = self.bytes;
        (self.seen == PREFIX).then(|| u32::from_be_bytes([a, b, c, d]))
    }
}

struct Guarded {
    data: BodyDataStream,
    prefix: Prefix,
    room: Arc<Semaphore>,
    all: u32,
    share: Share,
    /// What was read, until there is a share for it.
    waiting: Option<(Bytes, BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>)>,
}

impl Stream for Guarded {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some((_, permit)) = &mut this.waiting {
                // The semaphore is never closed.
                if let Ok(permit) = ready!(permit.as_mut().poll(task)) {
                    let _ = this.share.set(permit);
                }
                return Poll::Ready(this.waiting.take().map(|(data, _)| Ok(data)));
            }
            let data = match ready!(Pin::new(&mut this.data).poll_next(task)) {
                Some(Ok(data)) => data,
                other => return Poll::Ready(other),
            };
            match this.prefix.complete(&data) {
                Some(length) if length >= LEAST => {
                    // One that is larger than the budget has it for itself.
                    let share = length.div_ceil(1 << 10).min(this.all);
                    let permit = Arc::clone(&this.room).acquire_many_owned(share);
                    this.waiting = Some((data, Box::pin(permit)));
                }
                _ => return Poll::Ready(Some(Ok(data))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};

    use super::*;

    fn body(pieces: &[&[u8]]) -> Body {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, axum::Error>(Bytes::copy_from_slice(piece))).collect();
        Body::from_stream(stream::iter(pieces))
    }

    /// Announces so many bytes.
    fn message(length: u32) -> Body {
        let prefix = [&[0][..], &length.to_be_bytes()].concat();
        // In pieces, as a network may deliver it.
        body(&[&prefix[..2], &prefix[2..], b"rest"])
    }

    async fn read(body: Body) -> Vec<u8> {
        let mut data = body.into_data_stream();
        let mut all = Vec::new();
        while let Some(piece) = data.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn a_message_waits_for_its_share_and_gives_it_back() {
        let budget = Budget::new(1);
        let (first, share) = budget.guard(message(700 << 10));
        assert_eq!(budget.taken(), 0, "nothing is known yet");
        assert_eq!(read(first).await, [&[0, 0, 10, 240, 0][..], b"rest"].concat());
        assert_eq!(budget.taken(), 700 << 10, "until it is answered");
        let (second, second_share) = budget.guard(message(400 << 10));
        let mut second = Box::pin(read(second));
        assert_eq!((&mut second).now_or_never(), None);
        let (small, _) = budget.guard(message(LEAST - 1));
        assert_eq!(read(small).await.len(), 9, "small ones pass");
        drop(share);
        assert_eq!(second.await.len(), 9);
        assert_eq!(budget.taken(), 400 << 10);
        drop(second_share);
        let (huge, share) = budget.guard(message(u32::MAX));
        read(huge).await;
        assert_eq!(budget.taken(), 1 << 20);
        drop(share);
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn an_end_before_the_length_is_the_readers_business() {
        let budget = Budget::new(1);
        let (cut, _) = budget.guard(body(&[&[0, 0]]));
        assert_eq!(read(cut).await, [0, 0]);
    }
}
