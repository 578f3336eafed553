//! What was built.

/// What this program was built from, by what, and for which machine.
pub(crate) struct Build {
    pub(crate) release: &'static str,
    pub(crate) commit: &'static str,
    pub(crate) built: &'static str,
    /// What stands in the place of Go's version: readers look for the label.
    pub(crate) language: &'static str,
    pub(crate) platform: String,
}

pub(crate) fn build() -> Build {
    Build {
        release: concat!("v", env!("CARGO_PKG_VERSION")),
        commit: option_env!("BINLOG_GIT_HASH").unwrap_or("unknown"),
        built: option_env!("BINLOG_BUILD_TS").unwrap_or("unknown"),
        language: concat!("none, rust", env!("CARGO_PKG_RUST_VERSION")),
        platform: format!("{}/{}", std::env::consts::OS, architecture()),
    }
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The block that `-V` prints, line by line as the original's.
pub fn version_block() -> String {
    let Build { release, commit, built, language, platform } = build();
    format!(
        "Release Version: {release}\nGit Commit Hash: {commit}\nBuild TS: {built}\nGo Version: {language}\nGo OS/Arch: {platform}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_are_the_originals() {
        let block = version_block();
        let labels: Vec<_> = block.lines().filter_map(|line| line.split_once(": ")).collect();
        let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Release Version", "Git Commit Hash", "Build TS", "Go Version", "Go OS/Arch"]);
        assert!(labels[0].1.starts_with('v') && !labels[4].1.contains("x86_64"), "{block}");
    }
}
