//! Which records a table pattern wants, decided without decoding rows.
//!
//! A record's first fragment names its tables by id; the names are those of the store's schema objects at the record's
//! schema version. Whatever cannot be named here passes: unknown tables, DDLs, and transactions that go on in further
//! fragments, whose later tables are not known yet. Clients filter again by name.

use std::collections::HashMap;

use binlog_proto::Body;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_storage::{Error, Fragment, Store};
use binlog_types::SchemaVersion;
use parking_lot::Mutex;
use prost::Message;
use serde::Deserialize;

/// Patterns `db.table` with `*` and `?`, without regard to case.
#[derive(Debug)]
pub(super) struct TableMatcher {
    patterns: Vec<(String, String)>,
    /// What was found out about a table at a version; tables repeat all the time.
    known: Mutex<HashMap<(i64, i64), bool>>,
}

const MAX_KNOWN: usize = 65_536;

/// The ids of the tables that a transaction changed, without its rows.
#[derive(Clone, PartialEq, prost::Message)]
struct TablesOnly {
    #[prost(message, repeated, tag = "2")]
    mutations: Vec<TableIdOnly>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TableIdOnly {
    #[prost(int64, required, tag = "1")]
    table_id: i64,
}

/// The name in a `TableInfo` or `DBInfo`.
#[derive(Deserialize)]
struct Named {
    #[serde(alias = "db_name")]
    name: Name,
}

#[derive(Deserialize)]
struct Name {
    #[serde(rename = "L")]
    lower: String,
}

impl TableMatcher {
    /// The matcher of some patterns; None where there are none, so that everything passes.
    ///
    /// # Errors
    /// A text for people when a pattern has no dot.
    pub(super) fn new(patterns: &[String]) -> Result<Option<Self>, String> {
        let split = |pattern: &String| match pattern.split_once('.') {
            Some((db, table)) if !db.is_empty() && !table.is_empty() => {
                Ok((db.to_lowercase(), table.to_lowercase()))
            }
            _ => Err(format!("bad table pattern {pattern:?}: write db.table, with * and ? as wildcards")),
        };
        let patterns: Vec<_> = patterns.iter().map(split).collect::<Result<_, _>>()?;
        Ok((!patterns.is_empty()).then(|| TableMatcher { patterns, known: Mutex::default() }))
    }

    /// Whether the transaction that begins with this fragment may touch a wanted table.
    ///
    /// # Errors
    /// Those of reading the store's schema.
    pub(super) fn wants(&self, store: &Store, first: &Fragment) -> Result<bool, Error> {
        if first.ddl || first.fake || !first.last {
            return Ok(true);
        }
        // What is not decodable here is for the client to report, with its position.
        let Ok(body) = Body::decode(first.payload.clone()) else { return Ok(true) };
        let Some(Ok(tables)) = body.prewrite_value.map(TablesOnly::decode) else { return Ok(true) };
        for table in tables.mutations {
            if self.wants_table(store, table.table_id, first.schema_version)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn wants_table(&self, store: &Store, id: i64, version: SchemaVersion) -> Result<bool, Error> {
        // A history that does not reach the version yet may still rename the table.
        if store.schema_version() < version {
            return Ok(true);
        }
        if let Some(known) = self.known.lock().get(&(id, version.0)) {
            return Ok(*known);
        }
        let wanted = match name_at(store, id, version)? {
            None => true,
            Some((db, table)) => self.matches(&db, &table),
        };
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((id, version.0), wanted);
        Ok(wanted)
    }

    fn matches(&self, db: &str, table: &str) -> bool {
        self.patterns
            .iter()
            .any(|(d, t)| glob(d.as_bytes(), db.as_bytes()) && glob(t.as_bytes(), table.as_bytes()))
    }
}

fn name_at(store: &Store, id: i64, version: SchemaVersion) -> Result<Option<(String, String)>, Error> {
    let Some(table) = object_at(store, ObjectKind::Table, id, version)? else { return Ok(None) };
    let Some(database) = object_at(store, ObjectKind::Database, table.parent_id, version)? else {
        return Ok(None);
    };
    let name =
        |object: &SchemaObject| serde_json::from_slice::<Named>(&object.json).ok().map(|n| n.name.lower);
    Ok(name(&database).zip(name(&table)))
}

fn object_at(
    store: &Store,
    kind: ObjectKind,
    id: i64,
    version: SchemaVersion,
) -> Result<Option<SchemaObject>, Error> {
    let entries = store.schema_object(kind as u8, id)?;
    let newest = entries.into_iter().filter(|e| e.schema_version <= version).max_by_key(|e| e.schema_version);
    Ok(newest.and_then(|entry| SchemaObject::decode(entry.value).ok()).filter(|object| !object.dropped))
}

/// `*` is any run of bytes, `?` one byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || Some(&c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("t?", "t1", true),
            ("t?", "t", false),
            ("*_log", "audit_log", true),
            ("*_log", "audit_logs", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(TableMatcher::new(&[]).unwrap().is_none());
        assert!(TableMatcher::new(&["nodot".to_owned()]).is_err());
    }

    #[test]
    fn table_ids_are_read_without_rows() {
        use binlog_proto::binlog::{PrewriteValue, TableMutation};
        let mutation = |table_id| TableMutation {
            table_id,
            inserted_rows: vec![vec![0_u8; 100].into()],
            ..Default::default()
        };
        let value =
            PrewriteValue { schema_version: 1, mutations: vec![mutation(7), mutation(9)] }.encode_to_vec();
        let tables = TablesOnly::decode(value.as_slice()).unwrap();
        assert_eq!(tables.mutations.iter().map(|m| m.table_id).collect::<Vec<_>>(), [7, 9]);
    }
}
