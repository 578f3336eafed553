//! The version block.
/// The block that `-V` prints: `Release Version: …`, `Git Commit Hash: …`, `Build TS: …`, the compiler's version, OS and architecture.
pub fn version_block() -> String { todo!() }
