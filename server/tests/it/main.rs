//! A pump as its clients see it: in this process or as a program, with an embedded cluster or a fake PD.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod crash;
mod disk;
mod harness;
mod http;
mod life;
mod memory;
mod orphans;
mod pull;
mod replay;
mod scan;
mod schema;
mod signals;
mod start;
mod surface;
mod takeover;
mod tls;
mod write;
