//! Loopback control, as the original does it: the first statement of each transaction of rows touches a row of a table of its own, so
//! that a drainer which reads the target's binlogs in turn knows where the transaction came from. DDL carries no mark.

use super::bookkeeping;
use super::connection::Connection;
use crate::{Error, Marks};

/// The database of the mark table.
pub const MARK_SCHEMA: &str = "retl";
/// The mark table: `id`, `channel_id`, `val`, `channel_info`.
pub const MARK_TABLE: &str = "_drainer_repl_mark";

/// What marks the transactions of connection `id`.
pub(super) fn statement(marks: Marks, id: usize) -> String {
    let channel = marks.channel;
    format!("update {MARK_SCHEMA}.{MARK_TABLE} set val=val+1 where id={id} and channel_id={channel} limit 1")
}

/// Makes the table, and a row for each of `connections`.
pub(super) async fn open(main: &mut Connection, marks: Marks, connections: usize) -> Result<(), Error> {
    let failed = bookkeeping("prepare the mark table of loopback-control");
    let rows: Vec<String> = (0..connections).map(|id| format!("({id},{},1,'')", marks.channel)).collect();
    for sql in [
        format!("create database IF NOT EXISTS {MARK_SCHEMA}"),
        format!(
            "CREATE TABLE If Not Exists {MARK_SCHEMA}.{MARK_TABLE}(id bigint not null, channel_id bigint not null DEFAULT 0, \
             val bigint DEFAULT 0, channel_info varchar(64), PRIMARY KEY (id,channel_id))"
        ),
        format!(
            "REPLACE INTO {MARK_SCHEMA}.{MARK_TABLE}(id,channel_id,val,channel_info) VALUES {}",
            rows.join(",")
        ),
    ] {
        main.execute(&sql).await.map_err(&failed)?;
    }
    Ok(())
}

/// Takes this channel's rows away again.
pub(super) async fn close(main: &mut Connection, marks: Marks) {
    let sql = format!("delete from {MARK_SCHEMA}.{MARK_TABLE} where channel_id = {}", marks.channel);
    if let Err(error) = main.execute(&sql).await {
        tracing::warn!(%error, "the rows of loopback-control stay in the mark table");
    }
}
