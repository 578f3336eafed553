//! What every program does alike: Go-style flags, strict TOML, environment, log format, version, signals,
//! addresses, TLS settings, metrics for a pushgateway, the lock of the data directory.
//!
//! One table of [`Flag`]s per program feeds the command line, the TOML keys, the environment and `--help`. Values are laid over one another, default,
//! file, environment, command line, into one TOML table, which serde then reads into the program's own `Config`.

mod address;
mod data_dir;
mod exposition;
mod flags;
mod log;
mod program;
mod push;
mod rotate;
mod runtime_metrics;
mod secret;
mod show;
mod signal;
pub mod tls;
mod version;

pub use address::{HostPort, check_pd_urls, first_address};
pub use data_dir::{DirError, DirLock, ReadLock, hostname, replace_file};
pub use exposition::with_go_bounds;
pub use flags::{Flag, Kind};
pub use log::{LogTo, init_logging, log_welcome};
pub use program::{Loaded, Program, Stop};
pub use push::push_metrics;
pub use runtime_metrics::RuntimeMetrics;
pub use secret::{SecretError, SecretKey, secret_key};
pub use signal::{catch_signals, shutdown_signal};
pub use version::version_block;
