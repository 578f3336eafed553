//! What was built.

/// The block that `-V` prints, line by line as the original's.
pub fn version_block() -> String {
    format!(
        "Release Version: v{}\nGit Commit Hash: {}\nBuild TS: {}\nRust Version: {}\nOS/Arch: {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("BINLOG_GIT_HASH").unwrap_or("unknown"),
        option_env!("BINLOG_BUILD_TS").unwrap_or("unknown"),
        env!("CARGO_PKG_RUST_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}
