//! What a DDL that is under way has left of a table's unique indexes.
//!
//! TiDB takes an index away in steps. From the first of them on it may stop to enforce it, while the binlog of the DDL comes only with the
//! last one: rows between the two may be equal in an index that the table of the stream still has.

use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::SchemaVersion;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fold::field;
use super::job_type;
use super::parse::{normal, parse_table};
use crate::{Error, Index};

/// The unique indexes that are still enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enforced {
    unique: Vec<Unique>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unique {
    id: i64,
    name: String,
}

impl Enforced {
    /// Reads a step's JSON.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(json)
            .map_err(|source| Error::Json { what: "step of a DDL".to_owned(), source })
    }

    /// Whether it is about this index. One that a change of type has rewritten has another id, one that was renamed another name.
    pub(crate) fn holds(&self, index: &Index) -> bool {
        self.unique.iter().any(|u| u.id == index.id || u.name.eq_ignore_ascii_case(&index.name))
    }
}

/// Whether a job of this kind, or a part of a job, may take a unique index away.
pub fn may_take_indexes(kind: u8) -> bool {
    use job_type::*;
    matches!(
        kind,
        DROP_INDEX | DROP_PRIMARY_KEY | DROP_INDEXES | DROP_COLUMN | DROP_COLUMNS | MULTI_SCHEMA_CHANGE
    )
}

/// The step that left a table, as an object of kind `TABLE` has it, as it is.
///
/// # Errors
/// When its JSON is no TableInfo.
pub fn step_object(table: &SchemaObject) -> Result<SchemaObject, Error> {
    let info = parse_table(&table.json, SchemaVersion(table.schema_version))?;
    let enforced = info.indexes.iter().filter(|index| index.unique && index.public);
    let unique = enforced.map(|index| Unique { id: index.id, name: index.name.clone() }).collect();
    // Numbers and texts: it cannot fail.
    let json = serde_json::to_vec(&Enforced { unique }).unwrap_or_default();
    Ok(SchemaObject { kind: ObjectKind::Step as i32, dropped: false, json: json.into(), ..table.clone() })
}

/// A TableInfo without these of its indexes.
pub(crate) fn without_indexes(json: &Bytes, ids: &[i64]) -> Bytes {
    let Ok(Value::Object(mut table)) = serde_json::from_slice(json) else { return json.clone() };
    let id = |index: &Value| field(index.as_object()?, "id")?.as_i64();
    let lists = table.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("index_info"));
    for indexes in lists.filter_map(|(_, list)| list.as_array_mut()) {
        indexes.retain(|index| id(index).is_none_or(|id| !ids.contains(&id)));
    }
    normal(&Value::Object(table))
}

#[cfg(test)]
mod tests {
    use binlog_types::TableId;

    use super::*;
    use crate::meta::table_json;
    use crate::{ColumnType, TableBuilder};

    #[test]
    fn a_step_names_what_is_still_enforced() {
        let mut table = TableBuilder::new(TableId(10), "t", SchemaVersion(7))
            .column("a", ColumnType::int())
            .column("b", ColumnType::int())
            .primary_key(&["a"])
            .unique("u", &["b"])
            .unique("v", &["b"])
            .index("i", &["b"])
            .build();
        table.indexes[1].public = false;
        let object = SchemaObject {
            kind: ObjectKind::Table as i32,
            id: 10,
            schema_version: 7,
            parent_id: 2,
            finished_ts: 5,
            json: table_json(&table).into(),
            ..SchemaObject::default()
        };
        let step = step_object(&object).unwrap();
        assert_eq!((step.kind(), step.id, step.schema_version, step.parent_id), (ObjectKind::Step, 10, 7, 2));
        let enforced = Enforced::parse(&step.json).unwrap();
        let held: Vec<bool> = table.indexes.iter().map(|index| enforced.holds(index)).collect();
        assert_eq!(held, [true, false, true, false]);
        let rewritten = Index { id: 77, name: "V".into(), ..table.indexes[2].clone() };
        let renamed = Index { name: "w".into(), ..table.indexes[2].clone() };
        assert!(enforced.holds(&rewritten) && enforced.holds(&renamed));
        let without = without_indexes(&object.json, &[1, 3]);
        let names: Vec<String> =
            parse_table(&without, SchemaVersion(8)).unwrap().indexes.into_iter().map(|i| i.name).collect();
        assert_eq!(names, ["PRIMARY", "v"]);
        assert!(Enforced::parse(b"{").is_err());
        assert!(step_object(&SchemaObject { json: "{}".into(), ..object }).is_err());
    }
}
