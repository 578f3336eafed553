//! Where the programs are.

use std::path::PathBuf;

/// The path of a program of this workspace, beside the test that asks.
///
/// # Panics
/// When it was not built: `./dev test` builds it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/PROFILE/deps/it-… → target/PROFILE/NAME
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let path = profile.join(name);
    assert!(path.is_file(), "{} is not built: run the tests with ./dev test", path.display());
    path
}
