//! The built programs, started and driven as a user would. They link nothing from here: what is tested is what is shipped.

mod programs;
mod pulled;
mod source;
mod system;

pub use programs::program;
pub use pulled::pull_all;
pub use source::Source;
pub use system::{System, checkpoint, commit_ts_of};
