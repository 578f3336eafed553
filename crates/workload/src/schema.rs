//! The bank's schema objects, as TiDB's DDL owner writes them: JSON of databases, tables and finished jobs.

use serde_json::{Value as Json, json};

/// TiDB's state of an object that everyone sees.
const PUBLIC: u8 = 5;
/// TiDB's state of an object that is not there.
const NONE: u8 = 0;
/// TiDB's state of a job that every server has seen.
const SYNCED: u8 = 6;

const NOT_NULL: u64 = 1;
const PRIMARY: u64 = 2;
const BINARY: u64 = 128;
const AUTO_INCREMENT: u64 = 512;
const NO_DEFAULT: u64 = 4096;

const BIGINT: u8 = 8;
const DATETIME: u8 = 12;
const VARCHAR: u8 = 15;
const DECIMAL: u8 = 246;
const ENUM: u8 = 247;
const TEXT: u8 = 252;

/// The kinds of account, in the order of the ENUM.
pub(crate) const KINDS: &[&str] = &["checking", "savings", "business"];

/// One column of a table.
#[derive(Debug)]
pub(crate) struct ColumnDef {
    name: &'static str,
    tp: u8,
    flag: u64,
    flen: i64,
    decimal: i64,
    elems: &'static [&'static str],
}

const fn column(name: &'static str, tp: u8, flag: u64, flen: i64, decimal: i64) -> ColumnDef {
    ColumnDef { name, tp, flag, flen, decimal, elems: &[] }
}

/// One table of the bank.
#[derive(Debug)]
pub(crate) struct TableDef {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns; the first is the integer key where there is one.
    pub(crate) columns: &'static [ColumnDef],
    /// Whether the first column is the row's handle.
    pub(crate) keyed: bool,
    /// What stands between the brackets of its CREATE TABLE, as TiDB restores it.
    ddl: &'static str,
}

/// Position of `accounts` in [`TABLES`].
pub(crate) const ACCOUNTS: usize = 0;
/// Position of `transfers` in [`TABLES`].
pub(crate) const TRANSFERS: usize = 1;
/// Position of `audit` in [`TABLES`].
pub(crate) const AUDIT: usize = 2;

/// All tables of the bank.
pub(crate) static TABLES: [TableDef; 3] = [
    TableDef {
        name: "accounts",
        columns: &[
            column("id", BIGINT, NOT_NULL | PRIMARY | NO_DEFAULT, 20, 0),
            column("owner", VARCHAR, NOT_NULL | NO_DEFAULT, 64, 0),
            ColumnDef { elems: KINDS, ..column("kind", ENUM, NOT_NULL | NO_DEFAULT, 8, 0) },
            column("balance", DECIMAL, NOT_NULL | NO_DEFAULT, 14, 2),
            column("opened", DATETIME, NOT_NULL | BINARY | NO_DEFAULT, 19, 0),
            column("note", VARCHAR, 0, 200, 0),
        ],
        keyed: true,
        ddl: "`id` BIGINT NOT NULL PRIMARY KEY,`owner` VARCHAR(64) NOT NULL,`kind` ENUM('checking','savings','business') NOT NULL,`balance` DECIMAL(14,2) NOT NULL,`opened` DATETIME NOT NULL,`note` VARCHAR(200)",
    },
    TableDef {
        name: "transfers",
        columns: &[
            column("id", BIGINT, NOT_NULL | PRIMARY | AUTO_INCREMENT, 20, 0),
            column("src", BIGINT, NOT_NULL | NO_DEFAULT, 20, 0),
            column("dst", BIGINT, NOT_NULL | NO_DEFAULT, 20, 0),
            column("amount", DECIMAL, NOT_NULL | NO_DEFAULT, 14, 2),
            column("at", DATETIME, NOT_NULL | BINARY | NO_DEFAULT, 23, 3),
            column("memo", TEXT, 0, 65535, 0),
        ],
        keyed: true,
        ddl: "`id` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,`src` BIGINT NOT NULL,`dst` BIGINT NOT NULL,`amount` DECIMAL(14,2) NOT NULL,`at` DATETIME(3) NOT NULL,`memo` TEXT",
    },
    TableDef {
        name: "audit",
        columns: &[
            column("event", VARCHAR, NOT_NULL | NO_DEFAULT, 40, 0),
            column("account", BIGINT, 0, 20, 0),
            column("teller", VARCHAR, 0, 40, 0),
        ],
        keyed: false,
        ddl: "`event` VARCHAR(40) NOT NULL,`account` BIGINT,`teller` VARCHAR(40)",
    },
];

/// What every job has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobHead {
    /// The job's id.
    pub(crate) id: i64,
    /// The schema version that it made.
    pub(crate) version: i64,
    /// start_ts of its transaction.
    pub(crate) start_ts: u64,
    /// The database's id.
    pub(crate) schema_id: i64,
}

/// A finished DDL job: what goes into the schema history, and its binlog's text.
#[derive(Debug)]
pub(crate) struct Job {
    /// The job as TiDB's history keeps it.
    pub(crate) json: Vec<u8>,
    /// The statement as TiDB restores it for the binlog.
    pub(crate) query: String,
    /// The state its object went to.
    pub(crate) schema_state: i32,
}

/// CREATE DATABASE.
pub(crate) fn create_database(head: JobHead, database: &str) -> Job {
    let info = json!({"SchemaVersion": head.version, "DBInfo": database_info(head.schema_id, database, PUBLIC), "TableInfo": null});
    job(
        head,
        1,
        0,
        (database, ""),
        Json::Null,
        PUBLIC,
        info,
        format!("CREATE DATABASE {};", quoted(database)),
    )
}

/// CREATE TABLE.
pub(crate) fn create_table(head: JobHead, database: &str, table_id: i64, def: &TableDef) -> Job {
    let info = json!({"SchemaVersion": head.version, "DBInfo": null, "TableInfo": table_info(table_id, def, head.start_ts)});
    let query = format!("CREATE TABLE {}.{} ({});", quoted(database), quoted(def.name), def.ddl);
    job(head, 3, table_id, (database, def.name), Json::Null, PUBLIC, info, query)
}

/// DROP DATABASE, with the ids of the tables that go with it.
pub(crate) fn drop_database(head: JobHead, database: &str, tables: &[i64]) -> Job {
    let info = json!({"SchemaVersion": head.version, "DBInfo": database_info(head.schema_id, database, NONE), "TableInfo": null});
    job(
        head,
        2,
        0,
        (database, ""),
        json!([tables]),
        NONE,
        info,
        format!("DROP DATABASE {};", quoted(database)),
    )
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn name(text: &str) -> Json {
    json!({"O": text, "L": text.to_lowercase()})
}

#[expect(clippy::too_many_arguments, reason = "the fields of one JSON object")]
fn job(
    head: JobHead,
    kind: u8,
    table_id: i64,
    (schema, table): (&str, &str),
    raw_args: Json,
    state: u8,
    mut info: Json,
    query: String,
) -> Job {
    if let Some(fields) = info.as_object_mut() {
        fields.insert("FinishedTS".to_owned(), json!(head.start_ts));
        fields.insert("MultipleTableInfos".to_owned(), Json::Null);
    }
    let json = json!({
        "id": head.id, "type": kind, "schema_id": head.schema_id, "table_id": table_id, "schema_name": schema, "table_name": table,
        "state": SYNCED, "warning": null, "err": null, "err_count": 0, "row_count": 0, "raw_args": raw_args, "schema_state": state,
        "snapshot_ver": 0, "real_start_ts": head.start_ts, "start_ts": head.start_ts, "dependency_id": 0, "query": query, "binlog": info,
        "version": 1, "reorg_meta": null, "multi_schema_info": null, "priority": 0, "seq_num": head.version, "charset": "", "collate": "",
    });
    Job { json: json.to_string().into_bytes(), query, schema_state: i32::from(state) }
}

fn database_info(id: i64, database: &str, state: u8) -> Json {
    json!({
        "id": id, "db_name": name(database), "charset": "utf8mb4", "collate": "utf8mb4_bin", "Deprecated": {}, "state": state,
        "policy_ref_info": null,
    })
}

fn table_info(id: i64, def: &TableDef, start_ts: u64) -> Json {
    let columns: Vec<Json> =
        def.columns.iter().enumerate().map(|(offset, c)| column_info(offset, c)).collect();
    json!({
        "id": id, "name": name(def.name), "charset": "utf8mb4", "collate": "utf8mb4_bin", "cols": columns, "index_info": null,
        "constraint_info": null, "fk_info": null, "state": PUBLIC, "pk_is_handle": def.keyed, "is_common_handle": false,
        "common_handle_version": 0, "comment": "", "auto_inc_id": 0, "auto_id_cache": 0, "auto_rand_id": 0, "max_col_id": columns.len(),
        "max_idx_id": 0, "update_timestamp": start_ts, "ShardRowIDBits": 0, "partition": null, "compression": "", "view": null,
        "sequence": null, "Lock": null, "version": 5, "tiflash_replica": null, "is_columnar": false, "temp_table_type": 0,
    })
}

fn column_info(offset: usize, def: &ColumnDef) -> Json {
    let text = matches!(def.tp, VARCHAR | TEXT | ENUM);
    let (charset, collate) = if text { ("utf8mb4", "utf8mb4_bin") } else { ("binary", "binary") };
    let elems = if def.elems.is_empty() { Json::Null } else { json!(def.elems) };
    json!({
        "id": offset + 1, "name": name(def.name), "offset": offset, "origin_default": null, "origin_default_bit": null, "default": null,
        "default_bit": null, "default_is_expr": false, "generated_expr_string": "", "generated_stored": false, "dependences": null,
        "type": {
            "Tp": def.tp, "Flag": def.flag, "Flen": def.flen, "Decimal": def.decimal, "Charset": charset, "Collate": collate,
            "Elems": elems, "ElemsIsBinaryLit": null, "Array": false,
        },
        "state": PUBLIC, "comment": "", "hidden": false, "change_state_info": null, "version": 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_read_as_tidb_writes_them() {
        let head = JobHead { id: 103, version: 2, start_ts: 7, schema_id: 100 };
        let job = create_table(head, "ba`nk", 102, &TABLES[AUDIT]);
        let json: Json = serde_json::from_slice(&job.json).unwrap();
        assert_eq!(json["binlog"]["SchemaVersion"], 2);
        assert_eq!(json["binlog"]["FinishedTS"], 7);
        assert_eq!(json["binlog"]["TableInfo"]["cols"][1]["name"]["O"], "account");
        assert_eq!(json["binlog"]["TableInfo"]["pk_is_handle"], false);
        assert!(
            job.query.starts_with("CREATE TABLE `ba``nk`.`audit` (`event` VARCHAR(40) NOT NULL,"),
            "{}",
            job.query
        );
        let dropped: Json = serde_json::from_slice(&drop_database(head, "bank", &[1, 2]).json).unwrap();
        assert_eq!(dropped["raw_args"], json!([[1, 2]]));
    }

    #[test]
    fn ddl_text_and_column_list_agree() {
        for table in &TABLES {
            let names: Vec<&str> = table.ddl.split('`').skip(1).step_by(2).collect();
            let columns: Vec<&str> = table.columns.iter().map(|c| c.name).collect();
            assert_eq!(names, columns, "{}", table.name);
        }
    }
}
