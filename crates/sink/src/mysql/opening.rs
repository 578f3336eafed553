//! How a session is opened, and what is known of it from outside.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row as _};

use crate::error::server_code;
use crate::{MySqlTarget, literal};

/// How long opening a connection may take, and asking a server about another one.
const OPENING: Duration = Duration::from_secs(30);

/// Session settings that must hold. `sql_mode` holds no check, for the source has checked (with other rules, maybe): nothing is
/// refused or adjusted here that the source took. Two modes are on that only keep values as they are: an explicit 0 in an
/// AUTO_INCREMENT column stays 0, and dates like 2020-02-31 stay dates. Setting it also undoes `IGNORE_SPACE`, which the driver
/// asks for and under which a table named `count` cannot be created.
const REQUIRED: [&str; 4] = [
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
    "SET SESSION time_zone = '+00:00'",
    "SET NAMES utf8mb4",
    "SET SESSION foreign_key_checks = 0",
];

/// As above.
const REQUIRED_MODES: &str = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";

/// Settings that only some servers have, or let everyone set: the refusal of one is no error.
const WHERE_KNOWN: [&str; 6] = [
    // MariaDB turns a long IN list into a join with a table of guessed types.
    "SET SESSION in_predicate_conversion_threshold = 0",
    "SET SESSION check_constraint_checks = 0",
    "SET SESSION explicit_defaults_for_timestamp = 1",
    "SET SESSION allow_auto_random_explicit_insert = 1",
    "SET SESSION tidb_txn_mode = 'optimistic'",
    "SET SESSION tidb_placement_mode = 'ignore'",
];

/// MariaDB cuts off fractions of a second where MySQL and TiDB round: a change of a column's type must give what the source has. The
/// others do not know the mode, and take what is said to MariaDB for a comment.
const ROUND_TIMES: &str =
    "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, '' /*M!100401 , ',TIME_ROUND_FRACTIONAL' */)";

/// A session of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    id: u64,
    /// Behind one address there may be several.
    server: String,
}

impl At {
    async fn of(connection: &mut MySqlConnection) -> Result<Self, sqlx::Error> {
        let sql = "SELECT CAST(CONNECTION_ID() AS UNSIGNED), CONCAT(@@hostname, ':', @@port)";
        let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
        Ok(At { id: row.try_get(0)?, server: row.try_get_unchecked(1)? })
    }

    /// Whether its server says that it runs nothing, or is gone. False where that cannot be told.
    pub(super) async fn is_idle(&self, target: &MySqlTarget) -> bool {
        let asked = no_longer_than(Some(OPENING), async {
            let mut connection = connect(target).await?;
            if At::of(&mut connection).await?.server != self.server {
                return Ok(false);
            }
            let sql = format!("SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = {}", self.id);
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
            let command: Option<String> = rows.first().map(|row| row.try_get_unchecked(0)).transpose()?;
            connection.close().await?;
            Ok(command.is_none_or(|command| command.eq_ignore_ascii_case("sleep")))
        });
        asked.await.unwrap_or_else(|error: sqlx::Error| {
            tracing::debug!(%error, id = self.id, "cannot ask what a session is at");
            false
        })
    }
}

/// `work`, or an error after `limit`.
pub(super) async fn no_longer_than<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(limit) = limit else { return work.await };
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(timed_out(format!("no answer within {limit:?}"))))
}

/// The error after which a connection is given up: a late answer would be taken for that of the next statement.
pub(super) fn timed_out(text: String) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

/// A new session, after what `before` may have left at work has been ended.
pub(super) async fn open(
    target: &MySqlTarget,
    before: Option<&At>,
) -> Result<(MySqlConnection, At), sqlx::Error> {
    no_longer_than(Some(OPENING), async {
        let mut connection = connect(target).await?;
        let at = At::of(&mut connection).await?;
        // Elsewhere, the number is that of somebody else's session.
        if let Some(before) = before.filter(|before| before.server == at.server) {
            end_session(&mut connection, before.id).await;
        }
        Ok((connection, at))
    })
    .await
}

async fn connect(target: &MySqlTarget) -> Result<MySqlConnection, sqlx::Error> {
    let mut options = MySqlConnectOptions::new()
        .username(&target.user)
        .ssl_mode(if target.tls.is_some() { MySqlSslMode::VerifyIdentity } else { MySqlSslMode::Preferred })
        .charset("utf8mb4")
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .disable_statement_logging();
    if !target.password.is_empty() {
        options = options.password(&target.password);
    }
    if let Some(tls) = &target.tls {
        options = options.ssl_ca(&tls.ca);
        if !tls.cert.is_empty() {
            options = options.ssl_client_cert(&tls.cert).ssl_client_key(&tls.key);
        }
    }
    options = match &target.socket {
        Some(path) => options.socket(path),
        None => options.host(&target.host).port(target.port),
    };
    let mut connection = options.connect().await?;
    for statement in REQUIRED {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    for statement in WHERE_KNOWN {
        match sqlx::raw_sql(statement).execute(&mut connection).await {
            Ok(_) => {}
            // Unknown variable, read-only variable, not for this account, global only, unknown value.
            Err(error) if matches!(server_code(&error), Some(1193 | 1227 | 1228 | 1229 | 1231 | 1238)) => {}
            Err(error) => return Err(error),
        }
    }
    if !target.sql_mode.is_empty() {
        let modes = format!("{REQUIRED_MODES},{}", target.sql_mode.join(","));
        let sql = format!("SET SESSION sql_mode = {}", literal::text(&modes));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    }
    sqlx::raw_sql(ROUND_TIMES).execute(&mut connection).await?;
    for (name, value) in &target.session {
        // A name is checked where it comes from; a number stays one, for many variables take nothing else.
        let value = if value.parse::<i64>().is_ok() { value.clone() } else { literal::text(value) };
        sqlx::raw_sql(AssertSqlSafe(format!("SET SESSION {name} = {value}")))
            .execute(&mut connection)
            .await?;
    }
    Ok(connection)
}

/// Makes sure that the server does no more work for a connection that broke: its last statement could otherwise take effect after
/// later ones. Not every account may do that, and the connection is mostly gone already; so an error is only logged.
pub(super) async fn end_session(connection: &mut MySqlConnection, id: u64) {
    for _ in 0..50 {
        let kill = sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}"))).execute(&mut *connection);
        match no_longer_than(Some(OPENING), kill).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            // 1094: no such thread.
            Err(error) => {
                if server_code(&error) != Some(1094) {
                    tracing::debug!(%error, id, "cannot end the broken session");
                }
                return;
            }
        }
    }
    tracing::warn!(id, "the session of a broken connection is still at work");
}
