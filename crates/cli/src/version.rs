//! What was built.

/// What this program was built from, by what, and for which machine.
pub(crate) struct Build {
    pub(crate) release: &'static str,
    pub(crate) commit: &'static str,
    pub(crate) built: &'static str,
    pub(crate) rust: &'static str,
    pub(crate) platform: String,
}

pub(crate) fn build() -> Build {
    Build {
        release: concat!("v", env!("CARGO_PKG_VERSION")),
        commit: option_env!("BINLOG_GIT_HASH").unwrap_or("unknown"),
        built: option_env!("BINLOG_BUILD_TS").unwrap_or("unknown"),
        rust: env!("CARGO_PKG_RUST_VERSION"),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// The block that `-V` prints, line by line as the original's.
pub fn version_block() -> String {
    let Build { release, commit, built, rust, platform } = build();
    format!(
        "Release Version: {release}\nGit Commit Hash: {commit}\nBuild TS: {built}\nRust Version: {rust}\nOS/Arch: {platform}\n"
    )
}
