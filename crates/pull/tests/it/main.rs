//! Streams against pumps that speak real gRPC from memory.

mod events;
mod fake;
mod original;
mod stream;
