//! Row changes: what remains of them, and the statements that write it.

pub(crate) mod batch;
pub(crate) mod conflict;
pub(crate) mod filler;
pub(crate) mod fold;
pub(crate) mod multiset;
pub(crate) mod statement;
