//! The command line of `binlogctl`.

use binlog_cli::{Flag, Kind, Program, check_pd_urls};
use binlog_cluster::TlsFiles;
use serde::Deserialize;

/// The flags of `binlogctl`, as the original's, and `-cluster-dir`.
pub const PROGRAM: Program = Program {
    name: "binlogctl",
    about: "Lists pumps and drainers, pauses them or takes them offline, and edits what the registry says of them.\n\n\
            Commands (-cmd): pumps, drainers, pause-pump, pause-drainer, offline-pump, offline-drainer, update-pump,\n\
            update-drainer, skip, generate_meta, encrypt.",
    env_prefix: "",
    flags: &[
        text("cmd", "pumps", "What to do."),
        text("node-id", "", "The node to pause, take offline or update, or the drainer that skips."),
        text("state", "", "For update-pump and update-drainer: online, pausing, paused, closing or offline."),
        Flag {
            name: "show-offline-nodes",
            key: "show-offline-nodes",
            kind: Kind::Bool,
            default: "false",
            help: "List offline nodes too.",
        },
        Flag {
            name: "pd-urls",
            key: "pd-urls",
            kind: Kind::List,
            default: "http://127.0.0.1:2379",
            help: "PD's client URLs; bare host:port is taken as http.",
        },
        text("cluster-dir", "", "The directory of an embedded cluster, instead of PD."),
        text("commit-ts", "", "For skip: the transaction or DDL that the drainer leaves out."),
        text("data-dir", "binlog_position", "For generate_meta: where the savepoint file goes."),
        text("time-zone", "", "For generate_meta: also say the time in this zone, as in Asia/Shanghai."),
        text("text", "", "For encrypt: the password."),
        Flag {
            name: "force",
            key: "force",
            kind: Kind::Bool,
            default: "false",
            help: "For offline-pump: do not wait for drainers, or no longer. They miss what they have not read.",
        },
        text("ssl-ca", "", "CA certificate (PEM file)."),
        text("ssl-cert", "", "Client certificate (PEM file)."),
        text("ssl-key", "", "Client key (PEM file)."),
    ],
    file_keys: &[],
    elsewhere: &[],
};

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, key: name, kind: Kind::Text, default, help }
}

/// What the command line said.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Config {
    pub(crate) cmd: String,
    pub(crate) node_id: String,
    pub(crate) state: String,
    pub(crate) show_offline_nodes: bool,
    pub(crate) pd_urls: Vec<String>,
    pub(crate) cluster_dir: String,
    pub(crate) commit_ts: String,
    pub(crate) data_dir: String,
    pub(crate) time_zone: String,
    pub(crate) text: String,
    pub(crate) force: bool,
    pub(crate) ssl_ca: String,
    pub(crate) ssl_cert: String,
    pub(crate) ssl_key: String,
}

impl Default for Config {
    fn default() -> Self {
        let empty = String::new;
        Config {
            cmd: "pumps".to_owned(),
            node_id: empty(),
            state: empty(),
            show_offline_nodes: false,
            pd_urls: Vec::new(),
            cluster_dir: empty(),
            commit_ts: empty(),
            data_dir: empty(),
            time_zone: empty(),
            text: empty(),
            force: false,
            ssl_ca: empty(),
            ssl_cert: empty(),
            ssl_key: empty(),
        }
    }
}

impl Config {
    /// What to do, as given.
    pub fn command(&self) -> &str {
        &self.cmd
    }

    /// What is wrong with the addresses or the TLS files, before anything is done.
    ///
    /// # Errors
    /// In the original's words.
    pub fn validate(&self) -> Result<(), String> {
        if self.cluster_dir.is_empty() {
            self.urls()?;
        }
        if !self.ssl_ca.is_empty() {
            super::tls::client_config(self).map_err(|error| format!("tls config error {error:#}"))?;
        }
        Ok(())
    }

    /// PD's URLs; a bare `host:port` has the scheme that the TLS settings ask for.
    ///
    /// # Errors
    /// What is wrong with one of them, in the original's words.
    pub(crate) fn urls(&self) -> Result<Vec<String>, String> {
        check_pd_urls(&self.pd_urls, Some(!self.ssl_ca.is_empty()))
    }

    /// The TLS files, where a CA is given.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        (!self.ssl_ca.is_empty()).then(|| TlsFiles {
            ca: self.ssl_ca.clone(),
            cert: self.ssl_cert.clone(),
            key: self.ssl_key.clone(),
        })
    }
}
