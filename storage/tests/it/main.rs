//! Tests of the store through its public interface.
#![expect(clippy::unwrap_used, reason = "a step that fails, fails the test")]

mod basics;
mod collect;
mod crash;
mod damage;
mod failures;
mod fixture;
mod gaps;
mod model;
mod powerloss;
mod support;
