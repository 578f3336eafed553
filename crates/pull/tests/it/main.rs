//! Streams against pumps that speak real gRPC from memory.

mod fake;
mod original;
mod stream;
