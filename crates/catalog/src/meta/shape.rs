//! The parts of TiDB's JSON that are read, keys in lower case (see [`super::fold`]).

use serde::Deserialize;
use serde_json::Value;

/// A name: `{"O": as written, "L": lower case}`, or plain text.
#[derive(Deserialize, Default)]
#[serde(from = "AnyName")]
pub(super) struct Name(pub(super) String);

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyName {
    Both {
        #[serde(rename = "o")]
        original: String,
    },
    Plain(String),
}

impl From<AnyName> for Name {
    fn from(name: AnyName) -> Self {
        match name {
            AnyName::Both { original } | AnyName::Plain(original) => Name(original),
        }
    }
}

/// What a database, table, column or index is in when readers see it.
pub(super) const PUBLIC: i64 = 5;

#[derive(Deserialize)]
pub(super) struct DbInfo {
    pub(super) id: i64,
    #[serde(alias = "name")]
    pub(super) db_name: Name,
    #[serde(default)]
    pub(super) charset: String,
    #[serde(default)]
    pub(super) collate: String,
}

#[derive(Deserialize)]
pub(super) struct TableInfo {
    pub(super) id: i64,
    pub(super) name: Name,
    #[serde(default)]
    pub(super) charset: String,
    #[serde(default)]
    pub(super) collate: String,
    pub(super) cols: Option<Vec<ColumnInfo>>,
    pub(super) index_info: Option<Vec<IndexInfo>>,
    #[serde(default)]
    pub(super) pk_is_handle: bool,
    #[serde(default)]
    pub(super) is_common_handle: bool,
    #[serde(default)]
    pub(super) comment: String,
    pub(super) partition: Option<Partition>,
    pub(super) fk_info: Option<Vec<ForeignKeyInfo>>,
    pub(super) constraint_info: Option<Vec<ConstraintInfo>>,
    #[serde(default)]
    pub(super) temp_table_type: u8,
    pub(super) view: Option<Value>,
    pub(super) sequence: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct ForeignKeyInfo {
    #[serde(default)]
    pub(super) fk_name: Name,
}

#[derive(Deserialize)]
pub(super) struct ConstraintInfo {
    #[serde(default)]
    pub(super) constraint_name: Name,
}

#[derive(Deserialize)]
pub(super) struct Partition {
    #[serde(default)]
    pub(super) enable: bool,
    pub(super) definitions: Option<Vec<Definition>>,
}

#[derive(Deserialize)]
pub(super) struct Definition {
    pub(super) id: i64,
}

#[derive(Deserialize)]
pub(super) struct ColumnInfo {
    pub(super) id: i64,
    pub(super) name: Name,
    pub(super) offset: usize,
    #[serde(default)]
    pub(super) origin_default: Value,
    pub(super) origin_default_bit: Option<String>,
    #[serde(default)]
    pub(super) default: Value,
    pub(super) default_bit: Option<String>,
    #[serde(default)]
    pub(super) default_is_expr: bool,
    #[serde(default)]
    pub(super) generated_expr_string: String,
    #[serde(default)]
    pub(super) generated_stored: bool,
    #[serde(rename = "type")]
    pub(super) ty: FieldType,
    #[serde(default)]
    pub(super) state: i64,
    #[serde(default)]
    pub(super) comment: String,
    #[serde(default)]
    pub(super) hidden: bool,
}

#[derive(Deserialize)]
pub(super) struct FieldType {
    pub(super) tp: u8,
    #[serde(default)]
    pub(super) flag: u64,
    #[serde(default)]
    pub(super) flen: i64,
    #[serde(default)]
    pub(super) decimal: i64,
    #[serde(default)]
    pub(super) charset: String,
    #[serde(default)]
    pub(super) collate: String,
    pub(super) elems: Option<Vec<String>>,
    #[serde(default)]
    pub(super) array: bool,
}

#[derive(Deserialize)]
pub(super) struct IndexInfo {
    pub(super) id: i64,
    pub(super) idx_name: Name,
    pub(super) idx_cols: Option<Vec<IndexPart>>,
    #[serde(default)]
    pub(super) state: i64,
    #[serde(default)]
    pub(super) comment: String,
    #[serde(default)]
    pub(super) is_unique: bool,
    #[serde(default)]
    pub(super) is_primary: bool,
    #[serde(default)]
    pub(super) is_invisible: bool,
}

#[derive(Deserialize)]
pub(super) struct IndexPart {
    pub(super) name: Name,
    pub(super) offset: usize,
    #[serde(default = "whole")]
    pub(super) length: i64,
}

fn whole() -> i64 {
    -1
}
