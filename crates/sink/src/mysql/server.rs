//! What kind of server it is and what it can hold.

use std::collections::HashSet;

use binlog_types::Zone;
use sqlx::Row as _;

use super::bookkeeping;
use super::connection::Connection;
use crate::Error;
use crate::ddl::dialect::{Dialect, Kind};

/// A server's answers.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) dialect: Dialect,
    pub(crate) version: String,
    /// Rows are gathered into statements of about this length.
    pub(crate) statement_bytes: usize,
    /// The longest statement that it takes.
    pub(crate) packet: usize,
}

/// Upper bound of a statement's length: beyond it nothing gets faster.
const STATEMENT_BYTES: usize = 1 << 20;

impl Server {
    pub(crate) async fn ask(connection: &mut Connection) -> Result<Self, Error> {
        connection.open().await?;
        let failed = bookkeeping("ask the server for its version");
        let rows = connection
            .fetch("SELECT VERSION(), @@max_allowed_packet, @@global.time_zone")
            .await
            .map_err(&failed)?;
        let row = rows.first().ok_or_else(|| failed(sqlx::Error::RowNotFound))?;
        let version: String = row.try_get(0).map_err(&failed)?;
        let packet: u64 = row.try_get(1).map_err(&failed)?;
        let zone: String = row.try_get_unchecked(2).map_err(&failed)?;
        let kind = if version.contains("TiDB") {
            Kind::TiDb
        } else if version.contains("MariaDB") {
            Kind::MariaDb
        } else {
            Kind::MySql
        };
        let failed = bookkeeping("read the server's collations");
        let mut collations = HashSet::new();
        // MariaDB lists the newer ones only here, with their full names.
        let queries: &[&str] = if kind == Kind::MariaDb {
            &[
                "SELECT COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY",
                "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY",
            ]
        } else {
            &["SELECT COLLATION_NAME FROM information_schema.COLLATIONS"]
        };
        for query in queries {
            match connection.fetch(query).await {
                Ok(rows) => {
                    for row in rows {
                        let name: Option<String> = row.try_get(0).map_err(&failed)?;
                        collations.extend(name.map(|n| n.to_ascii_lowercase()));
                    }
                }
                // 1054: the column is missing before MariaDB 10.10.
                Err(error) if crate::error::server_code(&error) == Some(1054) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let statement_bytes =
            usize::try_from(packet / 2).unwrap_or(STATEMENT_BYTES).clamp(1 << 10, STATEMENT_BYTES);
        let packet = usize::try_from(packet).unwrap_or(usize::MAX);
        let mut dialect = Dialect::new(kind, collations);
        dialect.source_zone = zone_of(connection.ddl_time_zone().unwrap_or(&zone));
        Ok(Server { dialect, version, statement_bytes, packet })
    }
}

/// A zone as `time_zone` has it: an offset or a name, SYSTEM too. None: UTC.
fn zone_of(setting: &str) -> Option<Zone> {
    let offset = || {
        let (hours, minutes) = setting.split_once(':')?;
        let seconds = 3600 * hours.parse::<i32>().ok()?.abs() + 60 * minutes.parse::<i32>().ok()?;
        Some(if setting.starts_with('-') { -seconds } else { seconds })
    };
    match offset() {
        Some(seconds) => Zone::of_location("", seconds),
        None => Zone::of_location(setting, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_those_of_the_variable() {
        let name = |setting: &str| zone_of(setting).map(|zone| zone.name().to_owned());
        for (setting, zone) in [
            ("+8:00", "+08:00"),
            ("-03:30", "-03:30"),
            ("Asia/Shanghai", "Asia/Shanghai"),
            ("SYSTEM", "SYSTEM"),
        ] {
            assert_eq!(name(setting).as_deref(), Some(zone));
        }
        assert_eq!((name("+00:00"), name("UTC")), (None, None));
    }
}
