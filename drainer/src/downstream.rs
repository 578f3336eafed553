//! `[syncer.to]`: where to, and with which session.

use std::path::PathBuf;
use std::time::Duration;

use binlog_cli::tls::Security;
use binlog_sink::{MySqlTarget, Target, TlsFiles};
use binlog_types::parse_retention;

use crate::settings::refuse;
use crate::{Destination, Error, Syncer};

/// MySQL's and TiDB's modes. Two of them change how statements are read; see [`modes`].
const SQL_MODES: [&str; 28] = [
    "REAL_AS_FLOAT",
    "PIPES_AS_CONCAT",
    "ANSI_QUOTES",
    "IGNORE_SPACE",
    "ONLY_FULL_GROUP_BY",
    "NO_UNSIGNED_SUBTRACTION",
    "NO_DIR_IN_CREATE",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "NO_FIELD_OPTIONS",
    "MYSQL323",
    "MYSQL40",
    "ANSI",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_BACKSLASH_ESCAPES",
    "STRICT_TRANS_TABLES",
    "STRICT_ALL_TABLES",
    "NO_ZERO_IN_DATE",
    "NO_ZERO_DATE",
    "ALLOW_INVALID_DATES",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "TRADITIONAL",
    "NO_AUTO_CREATE_USER",
    "HIGH_NOT_PRECEDENCE",
    "NO_ENGINE_SUBSTITUTION",
    "PAD_CHAR_TO_FULL_LENGTH",
    "ORACLE",
    "TIME_TRUNCATE_FRACTIONAL",
];

/// As in the original.
const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// `rules`: some DDL may be left out by its kind or text.
pub(crate) fn target(
    syncer: &Syncer,
    rules: bool,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Target, Error> {
    let to = &syncer.to;
    match syncer.db_type.as_str() {
        "mysql" | "tidb" => mysql(syncer, rules, env).map(Target::MySql),
        "sqlite" if to.path.is_empty() => {
            refuse("db-type is sqlite, but no file is named: set -dest-path, or path in [syncer.to]")
        }
        "sqlite" => Ok(Target::Sqlite(PathBuf::from(&to.path))),
        known @ ("file" | "pb" | "kafka" | "oracle" | "flash") => {
            refuse(format!("db-type {known} is not supported yet; use mysql, tidb or sqlite"))
        }
        other => refuse(format!("unknown db-type {other:?}; use mysql, tidb or sqlite")),
    }
}

fn mysql(syncer: &Syncer, rules: bool, env: &impl Fn(&str) -> Option<String>) -> Result<MySqlTarget, Error> {
    let to = &syncer.to;
    let or_env = |set: &str, name: &str, default: &str| {
        if set.is_empty() {
            env(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned())
        } else {
            set.to_owned()
        }
    };
    let port_text = if to.port == 0 { String::new() } else { to.port.to_string() };
    let port_text = or_env(&port_text, "MYSQL_PORT", "3306");
    let Ok(port) = port_text.parse() else {
        return refuse(format!("invalid port {port_text:?} in [syncer.to] or MYSQL_PORT"));
    };
    let decrypted = decrypt("syncer.to.encrypted_password", &to.encrypted_password, env)?;
    Ok(MySqlTarget {
        host: or_env(&to.host, "MYSQL_HOST", "localhost"),
        port,
        user: or_env(&to.user, "MYSQL_USER", "root"),
        password: decrypted.unwrap_or_else(|| or_env(&to.password, "MYSQL_PSWD", "")),
        socket: (!to.socket.is_empty()).then(|| to.socket.clone()),
        tls: tls_files(&to.security),
        sql_mode: match &syncer.sql_mode {
            Some(text) => modes(text)?,
            // The tables are somebody else's: what does not fit is to be refused, not cut. Where the downstream may lack columns, it may
            // also have some that must not be NULL, so there the mode is off, as in the original.
            None if (!syncer.sync_ddl || rules) && to.sync_mode != 2 => modes("STRICT_TRANS_TABLES")?,
            None => Vec::new(),
        },
        session: session(to)?,
        ddl_time_zone: time_zone(to)?,
        read_timeout: Some(read_timeout(&to.read_timeout)?),
    })
}

/// Where the checkpoint is, if not where the rows are.
pub(crate) fn checkpoint(
    syncer: &Syncer,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<MySqlTarget>, Error> {
    let config = &syncer.to.checkpoint;
    match config.kind.as_str() {
        "" => return Ok(None),
        "mysql" | "tidb" => {}
        other => return refuse(format!("unknown checkpoint type {other:?}; use mysql, tidb or nothing")),
    }
    let Ok(port) = u16::try_from(if config.port == 0 { 3306 } else { config.port }) else {
        return refuse(format!("invalid port {} in [syncer.to.checkpoint]", config.port));
    };
    let or = |set: &str, default: &str| if set.is_empty() { default.to_owned() } else { set.to_owned() };
    let name = "syncer.to.checkpoint.encrypted_password";
    Ok(Some(MySqlTarget {
        host: or(&config.host, "127.0.0.1"),
        port,
        user: or(&config.user, "root"),
        password: decrypt(name, &config.encrypted_password, env)?.unwrap_or_else(|| config.password.clone()),
        tls: tls_files(&config.security),
        read_timeout: Some(DEFAULT_READ_TIMEOUT),
        ..MySqlTarget::default()
    }))
}

fn decrypt(name: &str, text: &str, env: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = binlog_cli::secret_key(env).map_err(|e| Error::Config(e.to_string()))?;
    key.decrypt(text).map(Some).map_err(|e| Error::Config(format!("{name}: {e}")))
}

fn tls_files(security: &Security) -> Option<TlsFiles> {
    (!security.ssl_ca.is_empty()).then(|| TlsFiles {
        ca: security.ssl_ca.clone(),
        cert: security.ssl_cert.clone(),
        key: security.ssl_key.clone(),
    })
}

/// The modes of `sql-mode`. One would change what the literals mean that drainer writes: it concerns only the statements of others.
fn modes(text: &str) -> Result<Vec<String>, Error> {
    let mut modes = Vec::new();
    for mode in text.split(',').map(|m| m.trim().to_uppercase()).filter(|m| !m.is_empty()) {
        if !SQL_MODES.contains(&mode.as_str()) {
            return refuse(format!("invalid sql-mode: {mode} is no mode of MySQL"));
        }
        if mode == "NO_BACKSLASH_ESCAPES" {
            tracing::warn!(
                "NO_BACKSLASH_ESCAPES is not set in drainer's sessions: its statements do not depend on it"
            );
            continue;
        }
        modes.push(mode);
    }
    Ok(modes)
}

/// `time_zone` of `params`: for the text of DDL, which a TiDB is given. TIMESTAMPs of rows are written in UTC whatever it says; what is
/// stored is the same.
fn time_zone(to: &Destination) -> Result<Option<String>, Error> {
    let set = to.params.iter().find(|(name, _)| name.eq_ignore_ascii_case("time_zone"));
    let Some((_, value)) = set else { return Ok(None) };
    if value.trim().is_empty() || matches!(value.to_ascii_lowercase().as_str(), "system" | "local") {
        return refuse(format!(
            "time_zone is {value:?} in [syncer.to.params]: write a zone such as +08:00 or Asia/Shanghai"
        ));
    }
    Ok(Some(value.clone()))
}

/// The other `params`.
fn session(to: &Destination) -> Result<Vec<(String, String)>, Error> {
    let mut session = Vec::new();
    for (name, value) in &to.params {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return refuse(format!("invalid name of a session variable in [syncer.to.params]: {name:?}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "time_zone" => {}
            "sql_mode" => return refuse("set sql-mode in [syncer], not in [syncer.to.params]"),
            _ => session.push((name.clone(), value.clone())),
        }
    }
    Ok(session)
}

/// `read-timeout`: Go's duration text, or a number of days.
fn read_timeout(value: &serde_json::Value) -> Result<Duration, Error> {
    let text = match value {
        serde_json::Value::Null => return Ok(DEFAULT_READ_TIMEOUT),
        serde_json::Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    if text.is_empty() {
        return Ok(DEFAULT_READ_TIMEOUT);
    }
    parse_retention(&text)
        .map_err(|_| Error::Config(format!("invalid read-timeout {value}: write a duration such as \"1m\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_timeouts_are_those_of_go() {
        for (text, seconds) in
            [("1m", 60.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("2", 172_800.0)]
        {
            let found = read_timeout(&serde_json::Value::from(text)).unwrap();
            assert_eq!(found, Duration::from_secs_f64(seconds), "{text}");
        }
        assert_eq!(read_timeout(&serde_json::Value::Null).unwrap(), Duration::from_secs(60));
        for text in ["x", "5y", "-1s", "0s", "1m3"] {
            assert!(read_timeout(&serde_json::Value::from(text)).is_err(), "{text}");
        }
    }
}
