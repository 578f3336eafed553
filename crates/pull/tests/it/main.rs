//! Streams against pumps that speak real gRPC from memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod events;
mod fake;
mod large;
mod original;
mod stream;
mod tikv;
