//! Whether a table is amid an online DDL.

use serde_json::{Map, Value};

use super::fold::field;
use super::shape::PUBLIC;

/// Whether no DDL is at work on a table (a TableInfo value): it and all its columns, indexes, foreign keys and checks are there for
/// readers, and no partition is on its way in or out. Else some job will change it further, and this state is none that any job ends with.
pub fn is_at_rest(json: &[u8]) -> bool {
    let Ok(Value::Object(table)) = serde_json::from_slice(json) else { return false };
    let list = |object: &Map<String, Value>, name: &str| {
        field(object, name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let parts = ["cols", "index_info", "fk_info", "constraint_info"];
    let moving = field(&table, "partition").and_then(Value::as_object).is_some_and(|partition| {
        ["adding_definitions", "dropping_definitions"].iter().any(|name| !list(partition, name).is_empty())
    });
    let public = |object: &Map<String, Value>| {
        field(object, "state").and_then(Value::as_i64).unwrap_or(PUBLIC) == PUBLIC
    };
    public(&table)
        && !moving
        && parts.iter().flat_map(|name| list(&table, name)).all(|part| part.as_object().is_none_or(public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_be_public() {
        for at_rest in [
            r#"{"id":1,"state":5,"cols":[{"state":5},{"State":5}],"index_info":[{"state":5}],"fk_info":null}"#,
            r#"{"id":1,"state":5,"cols":null,"partition":{"enable":true,"definitions":[{"id":7}],"adding_definitions":[],"dropping_definitions":null}}"#,
        ] {
            assert!(is_at_rest(at_rest.as_bytes()), "{at_rest}");
        }
        for moving in [
            r#"{"id":1,"state":1,"cols":[]}"#,
            r#"{"id":1,"state":5,"cols":[{"state":5},{"state":2}]}"#,
            r#"{"id":1,"state":5,"Index_Info":[{"state":0}]}"#,
            r#"{"id":1,"state":5,"fk_info":[{"state":2}]}"#,
            r#"{"id":1,"state":5,"constraint_info":[{"state":3}]}"#,
            r#"{"id":1,"state":5,"partition":{"dropping_definitions":[{"id":7}]}}"#,
            r#"{"id":1,"state":5,"partition":{"adding_definitions":[{"id":7}]}}"#,
            "[]",
            "{",
        ] {
            assert!(!is_at_rest(moving.as_bytes()), "{moving}");
        }
    }
}
