//! The checkpoint row's JSON, byte for byte as Go's encoder writes it.

use binlog_types::{CommitTs, SchemaVersion};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Checkpoint;

/// Names and times of a TiDB target; Go writes maps by key, as this one does.
pub(crate) type TsMap = Map<String, Value>;

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    consistent: bool,
    #[serde(rename = "commitTS", default)]
    commit_ts: i64,
    /// What the original keeps of a TiDB target's own time; passed on as it is.
    #[serde(rename = "ts-map", default)]
    ts_map: Option<TsMap>,
    #[serde(rename = "schema-version", default)]
    schema_version: i64,
}

/// The checkpoint, and the `ts-map`. `None`: nothing was applied yet (commitTS 0).
pub(crate) fn decode(text: &str) -> Result<(Option<Checkpoint>, TsMap), String> {
    let row: Row = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let commit_ts = u64::try_from(row.commit_ts).map_err(|_| "commitTS is negative".to_owned())?;
    let checkpoint = Checkpoint {
        commit_ts: CommitTs::new(commit_ts),
        schema_version: SchemaVersion(row.schema_version),
        consistent: row.consistent,
    };
    Ok(((commit_ts != 0).then_some(checkpoint), row.ts_map.unwrap_or_default()))
}

/// The row's text, in Go's order of fields, for scripts compare it; `ts_map` is what was there before.
pub(crate) fn encode(checkpoint: &Checkpoint, ts_map: &TsMap) -> String {
    format!(
        r#"{{"consistent":{},"commitTS":{},"ts-map":{},"schema-version":{}}}"#,
        checkpoint.consistent,
        checkpoint.commit_ts.as_i64(),
        Value::Object(ts_map.clone()),
        checkpoint.schema_version,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_row_comes_back_byte_for_byte() {
        let text = r#"{"consistent":false,"commitTS":470641326871281705,"ts-map":{},"schema-version":58}"#;
        let (checkpoint, ts_map) = decode(text).unwrap();
        let checkpoint = checkpoint.unwrap();
        assert_eq!(checkpoint.commit_ts.raw(), 470_641_326_871_281_705);
        assert_eq!(checkpoint.schema_version, SchemaVersion(58));
        assert_eq!(encode(&checkpoint, &ts_map), text);
        assert_eq!(encode(&checkpoint, &TsMap::default()), text);
    }

    #[test]
    fn what_a_tidb_target_wrote_is_kept() {
        let text = r#"{"consistent":true,"commitTS":7,"ts-map":{"primary-ts":1,"secondary-ts":2},"schema-version":3}"#;
        let (checkpoint, ts_map) = decode(text).unwrap();
        assert_eq!(encode(&checkpoint.unwrap(), &ts_map), text);
    }

    #[test]
    fn zero_is_never_written_and_nonsense_is_an_error() {
        assert_eq!(decode(r#"{"commitTS":0,"ts-map":{}}"#).unwrap().0, None);
        assert!(decode("").is_err());
        assert!(decode(r#"{"commitTS":-1}"#).is_err());
    }
}
