//! Schema diffs: what one version changed, by ids.

use binlog_types::{SchemaVersion, TableId};
use serde::Deserialize;

use super::fold::lower_keys;
use crate::Error;

/// A parsed schema diff: old and new ids of what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDiff {
    /// The version that it leads to.
    pub version: SchemaVersion,
    /// TiDB's number of the kind of job.
    pub action: u8,
    /// Database.
    pub schema_id: i64,
    /// Table, under its new id.
    pub table_id: TableId,
    /// Table, under its old id; 0: the same.
    pub old_table_id: TableId,
    /// The database that it came from; 0: the same.
    pub old_schema_id: i64,
    /// Further tables: (schema_id, table_id, old_schema_id, old_table_id).
    pub affected: Vec<(i64, TableId, i64, TableId)>,
}

#[derive(Deserialize)]
struct Diff {
    version: i64,
    #[serde(rename = "type")]
    action: u8,
    #[serde(default)]
    schema_id: i64,
    #[serde(default)]
    table_id: i64,
    #[serde(default)]
    old_table_id: i64,
    #[serde(default)]
    old_schema_id: i64,
    affected_options: Option<Vec<Affected>>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(default)]
    schema_id: i64,
    #[serde(default)]
    table_id: i64,
    #[serde(default)]
    old_table_id: i64,
    #[serde(default)]
    old_schema_id: i64,
}

/// Reads a diff.
///
/// # Errors
/// When it is no diff.
pub fn parse_diff(json: &[u8]) -> Result<SchemaDiff, Error> {
    let diff: Diff = serde_json::from_slice(&lower_keys(json))
        .map_err(|source| Error::Json { what: "schema diff".into(), source })?;
    let affected = diff.affected_options.unwrap_or_default().into_iter();
    Ok(SchemaDiff {
        version: SchemaVersion(diff.version),
        action: diff.action,
        schema_id: diff.schema_id,
        table_id: TableId(diff.table_id),
        old_table_id: TableId(diff.old_table_id),
        old_schema_id: diff.old_schema_id,
        affected: affected
            .map(|a| (a.schema_id, TableId(a.table_id), a.old_schema_id, TableId(a.old_table_id)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_names_both_tables() {
        let json = br#"{"version":177,"type":42,"schema_id":106,"table_id":188,"old_table_id":196,"old_schema_id":106,
            "regenerate_schema_map":false,"affected_options":[{"schema_id":106,"table_id":186,"old_table_id":0,"old_schema_id":0}]}"#;
        let diff = parse_diff(json).unwrap();
        assert_eq!((diff.action, diff.table_id, diff.old_table_id), (42, TableId(188), TableId(196)));
        assert_eq!(diff.affected, [(106, TableId(186), 0, TableId(0))]);
        assert!(parse_diff(b"{").is_err());
    }
}
