//! How many bytes of requests are in the process at once, from when a client announces them until they are answered.
//!
//! A message says its length in its first bytes. One that is not small takes its share of the budget then, before the rest of it is
//! read; while there is none left, the flow control of HTTP/2 holds its client. Small ones pass: they are as many as there are
//! sessions, and fit into what their connections buffer anyhow. So a disk that stalls makes clients wait, not memory grow.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Body, Frame};
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
    pub(crate) fn guard<B>(&self, body: B) -> (Guarded<B>, Share) {
        let share = Share::default();
        let guarded = Guarded {
            body,
            prefix: Prefix::default(),
            room: Arc::clone(&self.room),
            all: self.all,
            share: Arc::clone(&share),
            waiting: None,
        };
        (guarded, share)
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

/// A body that takes its share before it is read.
pub(crate) struct Guarded<B> {
    body: B,
    prefix: Prefix,
    room: Arc<Semaphore>,
    all: u32,
    share: Share,
    /// What was read, until there is a share for it.
    waiting: Option<(Bytes, BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>)>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Guarded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        loop {
            if let Some((_, permit)) = &mut this.waiting {
                // The semaphore is never closed.
                if let Ok(permit) = ready!(permit.as_mut().poll(task)) {
                    let _ = this.share.set(permit);
                }
                return Poll::Ready(this.waiting.take().map(|(data, _)| Ok(Frame::data(data))));
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(task)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.data_ref().and_then(|data| this.prefix.complete(data)) {
                Some(length) if length >= LEAST => {
                    // One that is larger than the budget has it for itself.
                    let share = length.div_ceil(1 << 10).min(this.all);
                    let permit = Arc::clone(&this.room).acquire_many_owned(share);
                    this.waiting = frame.into_data().ok().map(|data| (data, Box::pin(permit) as _));
                }
                _ => return Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};

    use super::*;

    use axum::body::Body;

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

    async fn read(body: Guarded<Body>) -> Vec<u8> {
        let mut data = Body::new(body).into_data_stream();
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
