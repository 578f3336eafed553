//! Timestamps over PD's stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use binlog_proto::pdpb::{TsoRequest, TsoResponse};
use binlog_types::Ts;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::debug;

use super::core::{CALL_LIMIT, Core, backoff, call_error, no_answer, refusal};
use crate::Error;
use crate::oracle::batch::{Block, Source};

const WHAT: &str = "Tso";
const LOGICAL_BITS: u32 = 18;

/// One stream to the leader, opened again after every failure.
pub(super) struct PdSource {
    core: Arc<Core>,
    stream: Option<Stream>,
}

struct Stream {
    url: String,
    requests: mpsc::Sender<TsoRequest>,
    answers: Streaming<TsoResponse>,
}

impl fmt::Debug for PdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PdSource").field("open", &self.stream.is_some()).finish()
    }
}

impl PdSource {
    pub(super) fn new(core: Arc<Core>) -> Self {
        PdSource { core, stream: None }
    }

    /// Sends one request; a stream that failed is not used again.
    async fn once(&mut self, count: u32) -> Result<Block, Error> {
        let request = TsoRequest {
            header: Some(self.core.header()),
            count,
            // Go's client says so, and so do we: an empty name means the same to PDs that know local oracles.
            dc_location: "global".to_owned(),
        };
        let mut stream = match self.stream.take() {
            Some(stream) => {
                // A broken stream shows in the answer.
                let _ = stream.requests.send(request).await;
                stream
            }
            None => self.open(request).await?,
        };
        let answer = timeout(CALL_LIMIT, stream.answers.message()).await;
        let answer = match answer.unwrap_or_else(|_| Err(no_answer())) {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Err(self.failed(&stream.url, Status::unavailable("PD closed the stream")).await);
            }
            Err(status) => return Err(self.failed(&stream.url, status).await),
        };
        if let Some(error) = refusal(WHAT, &stream.url, answer.header.as_ref(), self.core.cluster_id()) {
            self.core.forget(&stream.url).await;
            return Err(error);
        }
        let block = block(&answer, count).map_err(|why| Error::BadAnswer {
            what: WHAT,
            endpoint: stream.url.clone(),
            why,
        })?;
        self.stream = Some(stream);
        Ok(block)
    }

    /// The first request goes out with the call: PD sends no headers before its first answer.
    async fn open(&self, request: TsoRequest) -> Result<Stream, Error> {
        let mut leader = self.core.leader().await?;
        let (requests, receiver) = mpsc::channel(1);
        // It cannot fail: there is room for one, and the receiver is right here.
        let _ = requests.send(request).await;
        let call = timeout(CALL_LIMIT, leader.grpc.tso(ReceiverStream::new(receiver))).await;
        match call.unwrap_or_else(|_| Err(no_answer())) {
            Ok(answers) => Ok(Stream { url: leader.url, requests, answers: answers.into_inner() }),
            Err(status) => Err(self.failed(&leader.url, status).await),
        }
    }

    async fn failed(&self, url: &str, status: Status) -> Error {
        self.core.forget(url).await;
        call_error(WHAT, url, Duration::ZERO, status)
    }
}

impl Source for PdSource {
    async fn take(&mut self, count: u32) -> Result<Block, Error> {
        let mut backoff = backoff();
        loop {
            let mut error = match self.once(count).await {
                Ok(block) => return Ok(block),
                Err(error) => error,
            };
            if !error.is_retryable() || !backoff.wait(Duration::ZERO).await {
                if let Error::Call { waited, .. } = &mut error {
                    *waited = backoff.elapsed();
                }
                return Err(error);
            }
            debug!(%error, "asking PD for timestamps again");
        }
    }
}

/// PD answers with the last timestamp of the block. With local oracles their suffix fills the lowest bits.
fn block(answer: &TsoResponse, wanted: u32) -> Result<Block, String> {
    if answer.count != wanted {
        return Err(format!("{} timestamps, {wanted} wanted", answer.count));
    }
    let timestamp = answer.timestamp.as_ref().ok_or("no timestamp")?;
    let (physical, logical) = match (u64::try_from(timestamp.physical), u64::try_from(timestamp.logical)) {
        (Ok(physical), Ok(logical)) if physical < 1 << (63 - LOGICAL_BITS) => (physical, logical),
        _ => return Err(format!("timestamp {}, {}", timestamp.physical, timestamp.logical)),
    };
    if timestamp.suffix_bits >= LOGICAL_BITS {
        return Err(format!("{} bits of suffix", timestamp.suffix_bits));
    }
    let step = 1u64 << timestamp.suffix_bits;
    if logical >= 1 << LOGICAL_BITS || logical < step * (u64::from(wanted) - 1) {
        return Err(format!("logical part {logical} after {wanted} timestamps"));
    }
    Ok(Block { last: Ts::compose(physical, logical), count: wanted, step })
}

#[cfg(test)]
mod tests {
    use binlog_proto::pdpb::Timestamp;

    use super::*;

    fn answer(count: u32, physical: i64, logical: i64, suffix_bits: u32) -> TsoResponse {
        TsoResponse { header: None, count, timestamp: Some(Timestamp { physical, logical, suffix_bits }) }
    }

    #[test]
    fn the_answer_is_the_last_of_the_block() {
        let block = block(&answer(3, 1_700_000_000_000, 100, 0), 3).unwrap();
        assert_eq!([0, 1, 2].map(|n| block.nth(n).logical()), [98, 99, 100]);
        let suffixed = super::block(&answer(3, 1_700_000_000_000, 0b1110, 2), 3).unwrap();
        assert_eq!([0, 1, 2].map(|n| suffixed.nth(n).logical()), [0b0110, 0b1010, 0b1110]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            answer(2, 1, 5, 0),
            answer(3, -1, 5, 0),
            answer(3, 1, -5, 0),
            answer(3, 1, 1, 0),
            answer(3, 1, 1 << 18, 0),
            answer(3, i64::MAX, 5, 0),
            answer(3, 1, 5, 40),
            TsoResponse { header: None, count: 3, timestamp: None },
        ] {
            assert!(block(&bad, 3).is_err(), "{bad:?}");
        }
    }
}
