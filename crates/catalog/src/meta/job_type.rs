//! TiDB's numbers of kinds of DDL jobs, up to the last version that writes binlogs.

#![allow(missing_docs, reason = "the names say it")]

pub const CREATE_SCHEMA: u8 = 1;
pub const DROP_SCHEMA: u8 = 2;
pub const CREATE_TABLE: u8 = 3;
pub const DROP_TABLE: u8 = 4;
pub const ADD_COLUMN: u8 = 5;
pub const DROP_COLUMN: u8 = 6;
pub const ADD_INDEX: u8 = 7;
pub const DROP_INDEX: u8 = 8;
pub const ADD_FOREIGN_KEY: u8 = 9;
pub const DROP_FOREIGN_KEY: u8 = 10;
pub const TRUNCATE_TABLE: u8 = 11;
pub const MODIFY_COLUMN: u8 = 12;
pub const REBASE_AUTO_ID: u8 = 13;
pub const RENAME_TABLE: u8 = 14;
pub const SET_DEFAULT_VALUE: u8 = 15;
pub const SHARD_ROW_ID: u8 = 16;
pub const MODIFY_TABLE_COMMENT: u8 = 17;
pub const RENAME_INDEX: u8 = 18;
pub const ADD_TABLE_PARTITION: u8 = 19;
pub const DROP_TABLE_PARTITION: u8 = 20;
pub const CREATE_VIEW: u8 = 21;
pub const MODIFY_TABLE_CHARSET: u8 = 22;
pub const TRUNCATE_TABLE_PARTITION: u8 = 23;
pub const DROP_VIEW: u8 = 24;
/// RECOVER TABLE and FLASHBACK TABLE.
pub const RECOVER_TABLE: u8 = 25;
pub const MODIFY_SCHEMA_CHARSET: u8 = 26;
pub const LOCK_TABLE: u8 = 27;
pub const UNLOCK_TABLE: u8 = 28;
pub const REPAIR_TABLE: u8 = 29;
pub const SET_TIFLASH_REPLICA: u8 = 30;
pub const UPDATE_TIFLASH_REPLICA: u8 = 31;
pub const ADD_PRIMARY_KEY: u8 = 32;
pub const DROP_PRIMARY_KEY: u8 = 33;
pub const CREATE_SEQUENCE: u8 = 34;
pub const ALTER_SEQUENCE: u8 = 35;
pub const DROP_SEQUENCE: u8 = 36;
pub const ADD_COLUMNS: u8 = 37;
pub const DROP_COLUMNS: u8 = 38;
pub const MODIFY_AUTO_ID_CACHE: u8 = 39;
pub const REBASE_AUTO_RANDOM_BASE: u8 = 40;
pub const ALTER_INDEX_VISIBILITY: u8 = 41;
pub const EXCHANGE_TABLE_PARTITION: u8 = 42;
pub const ADD_CHECK: u8 = 43;
pub const DROP_CHECK: u8 = 44;
pub const ALTER_CHECK: u8 = 45;
/// Placement rules of TiDB 5.0, long gone.
pub const ALTER_TABLE_ALTER_PARTITION: u8 = 46;
pub const RENAME_TABLES: u8 = 47;
pub const DROP_INDEXES: u8 = 48;
pub const ALTER_TABLE_ATTRIBUTES: u8 = 49;
pub const ALTER_TABLE_PARTITION_ATTRIBUTES: u8 = 50;
pub const CREATE_PLACEMENT_POLICY: u8 = 51;
pub const ALTER_PLACEMENT_POLICY: u8 = 52;
pub const DROP_PLACEMENT_POLICY: u8 = 53;
pub const ALTER_TABLE_PARTITION_PLACEMENT: u8 = 54;
pub const MODIFY_SCHEMA_DEFAULT_PLACEMENT: u8 = 55;
pub const ALTER_TABLE_PLACEMENT: u8 = 56;
pub const ALTER_CACHE_TABLE: u8 = 57;
pub const ALTER_TABLE_STATS_OPTIONS: u8 = 58;
pub const ALTER_NO_CACHE_TABLE: u8 = 59;
pub const CREATE_TABLES: u8 = 60;
pub const MULTI_SCHEMA_CHANGE: u8 = 61;
pub const FLASHBACK_CLUSTER: u8 = 62;
/// FLASHBACK DATABASE.
pub const RECOVER_SCHEMA: u8 = 63;
pub const REORGANIZE_PARTITION: u8 = 64;
pub const ALTER_TTL_INFO: u8 = 65;
pub const ALTER_TTL_REMOVE: u8 = 67;
pub const CREATE_RESOURCE_GROUP: u8 = 68;
pub const ALTER_RESOURCE_GROUP: u8 = 69;
pub const DROP_RESOURCE_GROUP: u8 = 70;
pub const ALTER_TABLE_PARTITIONING: u8 = 71;
pub const REMOVE_PARTITIONING: u8 = 72;

/// Whether what a job of this kind does is known, and so what it does to rows.
pub fn is_known(kind: u8) -> bool {
    matches!(kind, CREATE_SCHEMA..=ALTER_TTL_INFO | ALTER_TTL_REMOVE..=REMOVE_PARTITIONING)
}
