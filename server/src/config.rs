//! The settings of a pump, checked.

use std::path::PathBuf;
use std::time::Duration;

use binlog_cli::tls::Security;
use binlog_cli::{HostPort, check_pd_urls, first_address};
use binlog_types::{ByteSize, NodeId, Retention, parse_retention};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::Error;
use crate::free_space::SpaceProbe;

const DEFAULT_PORT: u16 = 8250;

/// What a `PullBinlogs` from below the safe point gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgedPull {
    /// A typed error with the safe point.
    #[default]
    Error,
    /// What is left, as the original does it; logged.
    Clamp,
}

/// `[storage]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Sync before acknowledging. `false` is unsafe: a power cut loses acknowledged binlogs. Default: true.
    pub sync_log: bool,
    /// Accepted for compatibility; what waits here is bounded by bytes.
    #[serde(rename = "kv_chan_cap")]
    pub kv_chan_cap: i64,
    /// Seconds after which a write is logged as slow. Default: 1.
    #[serde(rename = "slow_write_threshold")]
    pub slow_write_threshold: f64,
    /// Prewrites are refused when less disk space is left. Default: 10 GiB; 0: no guard.
    pub stop_write_at_available_space: ByteSize,
    /// Settings of the original's embedded key-value store; accepted for compatibility.
    pub kv: Option<IgnoredAny>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            sync_log: true,
            kv_chan_cap: 0,
            slow_write_threshold: 1.0,
            stop_write_at_available_space: ByteSize::gib(10),
            kv: None,
        }
    }
}

/// The settings as they are laid together from default, file, environment and command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Config {
    /// See [`crate::PROGRAM`] for this and the following.
    pub node_id: String,
    /// `host:port`, no scheme.
    pub addr: String,
    /// `host:port`, no scheme.
    pub advertise_addr: String,
    /// `unix:///path`: a socket to listen on besides.
    pub socket: String,
    /// URLs of PD; not used with `cluster_dir`.
    pub pd_urls: Vec<String>,
    /// The embedded cluster's directory; empty: PD.
    pub cluster_dir: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Seconds.
    pub heartbeat_interval: i64,
    /// Days or a duration.
    #[serde(deserialize_with = "text_or_number")]
    pub gc: String,
    /// Days or a duration; empty: twice `gc`; `0`: never.
    #[serde(deserialize_with = "text_or_number")]
    pub gc_hard_cap: String,
    /// What a pull from below the safe point gets.
    pub purged_pull: PurgedPull,
    /// A duration: how long a closing pump waits for drainers; `0`: for ever.
    #[serde(deserialize_with = "text_or_number")]
    pub drain_timeout: String,
    /// Threads that serve connections; 0: half of the processors.
    pub service_threads: i64,
    /// debug, info, warn, error, fatal.
    pub log_level: String,
    /// Empty: standard output.
    pub log_file: String,
    /// A pushgateway.
    #[serde(rename = "metricsaddr", alias = "MetricsAddr")]
    pub metrics_addr: String,
    /// Seconds.
    #[serde(rename = "metricsinterval", alias = "MetricsInterval")]
    pub metrics_interval: i64,
    /// Seconds.
    pub gen_binlog_interval: i64,
    /// Bytes.
    pub max_message_size: i64,
    /// Without effect.
    pub enable_debug: bool,
    /// `[security]`.
    pub security: Security,
    /// `[storage]`.
    pub storage: StorageConfig,
    /// For tests: how much room the disk has.
    #[doc(hidden)]
    #[serde(skip)]
    pub space: SpaceProbe,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            node_id: String::new(),
            addr: String::new(),
            advertise_addr: String::new(),
            socket: String::new(),
            pd_urls: vec!["http://127.0.0.1:2379".to_owned()],
            cluster_dir: String::new(),
            data_dir: PathBuf::from("data.pump"),
            heartbeat_interval: 2,
            gc: "7".to_owned(),
            gc_hard_cap: String::new(),
            purged_pull: PurgedPull::Error,
            drain_timeout: "0".to_owned(),
            service_threads: 0,
            log_level: "info".to_owned(),
            log_file: String::new(),
            metrics_addr: String::new(),
            metrics_interval: 15,
            gen_binlog_interval: 3,
            max_message_size: i64::MAX - (4 << 20),
            enable_debug: false,
            security: Security::default(),
            storage: StorageConfig::default(),
            space: SpaceProbe::default(),
        }
    }
}

/// The settings after [`Config::check`]: units and defaults resolved.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) node_id: Option<NodeId>,
    pub(crate) addr: HostPort,
    pub(crate) advertise: HostPort,
    /// A unix socket besides.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) pd_urls: Vec<String>,
    pub(crate) cluster_dir: Option<PathBuf>,
    pub(crate) data_dir: PathBuf,
    pub(crate) heartbeat: Duration,
    pub(crate) gc: Retention,
    /// None: never.
    pub(crate) gc_hard_cap: Option<Retention>,
    pub(crate) purged_pull: PurgedPull,
    /// How long a closing pump waits for drainers; None: for ever.
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) service_threads: usize,
    pub(crate) fake_interval: Duration,
    pub(crate) max_message_size: usize,
    pub(crate) slow_write: Duration,
    pub(crate) stop_write_at: u64,
    pub(crate) sync: bool,
    /// A pushgateway and how often to push to it.
    pub(crate) push: Option<(String, Duration)>,
    pub(crate) security: Security,
    pub(crate) space: SpaceProbe,
}

impl Config {
    /// Checks every setting, as starting the pump does.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), Error> {
        self.check()?;
        Ok(binlog_cli::tls::check(&self.security)?)
    }

    /// Resolves defaults and checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot be, in the original's words where it has them.
    pub(crate) fn check(&self) -> Result<Settings, Error> {
        let config = |text: String| Error::Config(text);
        let gc = gc_retention(&self.gc)?;
        let gc_hard_cap = match self.gc_hard_cap.trim() {
            "" => Some(gc.saturating_mul(2)),
            "0" => None,
            text => {
                Some(parse_retention(text).map_err(|e| config(format!("parse gc-hard-cap failed: {e}")))?)
            }
        };
        if gc_hard_cap.is_some_and(|cap| cap < gc) {
            return Err(config(format!("gc-hard-cap {} is shorter than gc {}", self.gc_hard_cap, self.gc)));
        }
        let addr_text = if self.addr.is_empty() {
            format!("{}:{DEFAULT_PORT}", first_address())
        } else {
            self.addr.clone()
        };
        let addr = HostPort::parse(&addr_text).ok_or_else(|| {
            config(format!("bad ListenAddr host format: {addr_text:?}, write host:port without a scheme"))
        })?;
        let advertise_text = if self.advertise_addr.is_empty() { &addr_text } else { &self.advertise_addr };
        let advertise = HostPort::parse(advertise_text).ok_or_else(|| {
            config(format!(
                "bad AdvertiseAddr host format: {advertise_text:?}, write host:port without a scheme"
            ))
        })?;
        if advertise.host.is_empty() || advertise.host == "0.0.0.0" {
            return Err(config(format!(
                "invalid advertiseAddr host: {:?}; others could not reach it, so set advertise-addr",
                advertise.host
            )));
        }
        let socket = if self.socket.is_empty() { None } else { Some(socket_path(&self.socket)?) };
        let drain_timeout = match self.drain_timeout.trim() {
            "" | "0" => None,
            text => {
                Some(parse_retention(text).map_err(|e| config(format!("parse drain-timeout failed: {e}")))?)
            }
        };
        let cluster_dir = (!self.cluster_dir.is_empty()).then(|| PathBuf::from(&self.cluster_dir));
        let pd_urls = match cluster_dir {
            Some(_) => Vec::new(),
            None => check_pd_urls(&self.pd_urls, None).map_err(Error::Config)?,
        };
        let node_id = match self.node_id.trim() {
            "" => None,
            text => Some(NodeId::new(text).map_err(|e| config(e.to_string()))?),
        };
        let seconds = |name: &str, value: i64| match u64::try_from(value) {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            _ => Err(config(format!("{name} is {value}; it must be above 0"))),
        };
        let heartbeat = if self.heartbeat_interval == 0 { 2 } else { self.heartbeat_interval };
        let slow = self.storage.slow_write_threshold;
        Ok(Settings {
            node_id,
            addr,
            advertise,
            socket,
            pd_urls,
            cluster_dir,
            data_dir: if self.data_dir.as_os_str().is_empty() {
                PathBuf::from("data.pump")
            } else {
                self.data_dir.clone()
            },
            heartbeat: seconds("heartbeat-interval", heartbeat)?,
            gc,
            gc_hard_cap,
            purged_pull: self.purged_pull,
            drain_timeout,
            service_threads: service_threads(self.service_threads)?,
            fake_interval: seconds("fake-binlog-interval", self.gen_binlog_interval)?,
            max_message_size: usize::try_from(self.max_message_size).ok().filter(|n| *n > 0).ok_or_else(
                || config(format!("max-message-size is {}; it must be above 0", self.max_message_size)),
            )?,
            slow_write: Duration::try_from_secs_f64(if slow > 0.0 { slow } else { 1.0 })
                .map_err(|e| config(format!("storage.slow_write_threshold: {e}")))?,
            stop_write_at: self.storage.stop_write_at_available_space.0,
            sync: self.storage.sync_log,
            push: self.push()?,
            security: self.security.clone(),
            space: self.space.clone(),
        })
    }
}

impl Config {
    fn push(&self) -> Result<Option<(String, Duration)>, Error> {
        match u64::try_from(self.metrics_interval) {
            Err(_) => Err(Error::Config(format!(
                "metrics-interval is {}; it must not be below 0",
                self.metrics_interval
            ))),
            Ok(0) => Ok(None),
            Ok(_) if self.metrics_addr.is_empty() => Ok(None),
            Ok(seconds) => Ok(Some((self.metrics_addr.clone(), Duration::from_secs(seconds)))),
        }
    }
}

/// The original's rule and words.
fn gc_retention(text: &str) -> Result<Retention, Error> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_zero = !digits.is_empty() && digits.chars().all(|c| matches!(c, '0' | '.' | 'h' | 'm' | 's'));
    if is_zero || (text.starts_with('-') && parse_retention(digits).is_ok()) {
        return Err(Error::Config(format!("GC is {text}, must bigger than 0")));
    }
    parse_retention(text).map_err(|e| {
        Error::Config(format!(
            "parse GC time failed, err: unsupported gc time {text}, etc: use 7 for 7 day, 7h for 7 hour ({e})"
        ))
    })
}

fn service_threads(configured: i64) -> Result<usize, Error> {
    match usize::try_from(configured) {
        Ok(0) => Ok(std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).clamp(1, 16))),
        Ok(n) if n <= 256 => Ok(n),
        _ => Err(Error::Config(format!("service-threads is {configured}; it must be 0 to 256"))),
    }
}

/// The path of a `unix:///path`. The original takes the same texts, but listens on what stands before the path.
fn socket_path(socket: &str) -> Result<PathBuf, Error> {
    let Some((scheme, rest)) = socket.split_once("://") else {
        return Err(Error::Config(format!(
            "parse Socket error: {socket:?} is no URL, write unix:///path/to/socket"
        )));
    };
    match rest.find('/') {
        Some(at) if scheme == "unix" && rest.len() > at + 1 => Ok(PathBuf::from(&rest[at..])),
        _ => Err(Error::Config(format!("bad Socket addr format: {socket}, write unix:///path/to/socket"))),
    }
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Number(i64),
        Text(String),
    }
    Ok(match Raw::deserialize(deserializer)? {
        Raw::Number(number) => number.to_string(),
        Raw::Text(text) => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Result<Settings, Error> {
        let mut config = Config { addr: "127.0.0.1:8250".to_owned(), ..Config::default() };
        change(&mut config);
        config.check()
    }

    fn text_of(result: Result<Settings, Error>) -> String {
        result.expect_err("should be refused").to_string()
    }

    #[test]
    fn the_defaults_pass() {
        let settings = config(|_| {}).unwrap();
        assert_eq!(settings.advertise.to_string(), "127.0.0.1:8250");
        assert_eq!(settings.gc_hard_cap, Some(settings.gc * 2));
        assert_eq!(settings.heartbeat, Duration::from_secs(2));
    }

    #[test]
    fn an_address_that_others_cannot_reach_is_refused() {
        assert!(
            text_of(config(|c| c.addr = "0.0.0.0:8250".to_owned())).contains("invalid advertiseAddr host")
        );
        let both = config(|c| {
            c.addr = "0.0.0.0:8250".to_owned();
            c.advertise_addr = "pump:8250".to_owned();
        });
        assert_eq!(both.unwrap().advertise.to_string(), "pump:8250");
        assert!(text_of(config(|c| c.addr = "http://a:1".to_owned())).contains("bad ListenAddr host format"));
        assert_eq!(config(|c| c.addr = "[::1]:7".to_owned()).unwrap().addr.to_string(), "[::1]:7");
    }

    #[test]
    fn urls_follow_the_originals_rule() {
        let urls = |text: &str| {
            let urls = vec![text.to_owned()];
            config(|c| c.pd_urls = urls)
        };
        assert_eq!(urls("http://b:1, http://a:1").unwrap().pd_urls, ["http://a:1", "http://b:1"]);
        assert!(text_of(urls("a:1")).contains("URL scheme must be http or https"));
        assert!(text_of(urls("http://a:1/")).contains("URL must not contain a path"));
        assert!(text_of(urls("http://a")).contains("does not have the form \"host:port\""));
    }

    #[test]
    fn a_socket_is_a_url_with_a_path() {
        let socket = |text: &str| config(|c| c.socket = text.to_owned());
        for text in ["unix:///run/pump.sock", "unix://host:1/run/pump.sock"] {
            assert_eq!(socket(text).unwrap().socket, Some(PathBuf::from("/run/pump.sock")));
        }
        assert!(text_of(socket("/run/pump.sock")).contains("parse Socket error"));
        assert!(text_of(socket("unix://pump.sock")).contains("bad Socket addr format"));
    }

    #[test]
    fn intervals_and_retention_are_checked() {
        assert!(text_of(config(|c| c.gen_binlog_interval = 0)).contains("must be above 0"));
        assert!(text_of(config(|c| c.gc = "7d".to_owned())).contains("parse GC time failed"));
        for gc in ["0", "-1", "0h", "-30m"] {
            let text = text_of(config(|c| c.gc = gc.to_owned()));
            assert_eq!(text, format!("GC is {gc}, must bigger than 0"));
        }
        assert_eq!(
            config(|c| c.drain_timeout = "10m".to_owned()).unwrap().drain_timeout,
            Some(Duration::from_secs(600))
        );
        assert!(text_of(config(|c| c.drain_timeout = "soon".to_owned())).contains("drain-timeout"));
        assert!(text_of(config(|c| c.gc_hard_cap = "1h".to_owned())).contains("shorter than gc"));
        assert!(config(|c| c.gc_hard_cap = "0".to_owned()).unwrap().gc_hard_cap.is_none());
    }
}
