//! One pump over gRPC: Hello, Scan, Schema, Stats.
/// A client of one pump's `Store` service.
#[derive(Clone, Debug)]
pub struct PumpClient { }
