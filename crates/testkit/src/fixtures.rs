//! Captured traffic of a real TiDB: what it wrote to pumps, what lay in the key-value store, and what its tables held at
//! named moments. `testdata/README.md` says what each capture holds. To test against, never to tune to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use binlog_proto::kvrpcpb::MvccGetByKeyResponse;
use binlog_types::{StartTs, Ts};
use bytes::{Buf as _, Bytes};
use prost::Message as _;
use serde::Deserialize;

use crate::{Truth, TruthTable, unzstd};

/// One `WriteBinlog` call as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteFrame {
    /// Unix nanoseconds.
    pub at_ns: u64,
    /// The number of the pump it was sent to.
    pub pump: u8,
    /// The cluster id of the request.
    pub cluster_id: u64,
    /// A `binlog.Binlog` message.
    pub payload: Bytes,
}

/// A named moment of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mark {
    /// The oracle's timestamp then.
    pub tso: Ts,
    /// The same as text.
    pub utc: String,
}

/// What the store answered to `MvccGetByKey` about the primary key of one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct MvccAnswer {
    /// The transaction that was asked about.
    pub start_ts: StartTs,
    /// Its primary key.
    pub key: Bytes,
    /// The answer.
    pub response: MvccGetByKeyResponse,
}

/// One message of a captured conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// As in `/pdpb.PD/Tso`.
    pub method: String,
    /// Else it is an answer.
    pub is_request: bool,
    /// The message.
    pub bytes: Bytes,
}

/// The folder of the captures.
pub fn testdata_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// All `WriteBinlog` calls of a capture in order of arrival, all pumps together.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn writes(name: &str) -> anyhow::Result<Vec<WriteFrame>> {
    let mut bytes = load(&testdata_dir().join(name).join("writes.bin.zst"))?;
    let mut frames = Vec::new();
    while bytes.has_remaining() {
        ensure!(bytes.len() >= 21, "{name}: the last write is cut off");
        let (at_ns, pump, cluster_id) = (bytes.get_u64_le(), bytes.get_u8(), bytes.get_u64_le());
        let length = bytes.get_u32_le() as usize;
        frames.push(WriteFrame { at_ns, pump, cluster_id, payload: take(&mut bytes, length)? });
    }
    Ok(frames)
}

/// Lays the binlog files that the original drainer wrote of a capture into `dir`.
///
/// # Errors
/// When the capture has none.
pub fn unpack_drainer_files(name: &str, dir: &Path) -> anyhow::Result<()> {
    let from = testdata_dir().join(name).join("drainer-file");
    for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let stem = path.file_stem().context("a name")?;
        fs::write(dir.join(stem), load(&path)?)?;
    }
    Ok(())
}

/// What the original reparo printed from those files.
///
/// # Errors
/// When the capture has no such text.
pub fn reparo_print(name: &str) -> anyhow::Result<Bytes> {
    load(&testdata_dir().join(name).join("reparo-print.txt.zst"))
}

/// What the original pump number `pump` answered to `PullBinlogs` from 0, without its fakes: `Entity.payload`s.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn pulled(name: &str, pump: u8) -> anyhow::Result<Vec<Bytes>> {
    let mut bytes = load(&testdata_dir().join(name).join(format!("pulled-{pump}.bin.zst")))?;
    let mut payloads = Vec::new();
    while bytes.has_remaining() {
        let length = u32_le(&mut bytes)?;
        payloads.push(take(&mut bytes, length)?);
    }
    Ok(payloads)
}

/// The schema part of the key-value store (`m` to `n`) as it stood at the end, in order of keys.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn meta(name: &str) -> anyhow::Result<Vec<(Bytes, Bytes)>> {
    let mut bytes = load(&testdata_dir().join(name).join("meta.bin.zst"))?;
    let mut pairs = Vec::new();
    while bytes.has_remaining() {
        let (key, value) = (u32_le(&mut bytes)?, u32_le(&mut bytes)?);
        pairs.push((take(&mut bytes, key)?, take(&mut bytes, value)?));
    }
    pairs.sort();
    Ok(pairs)
}

/// The named moments of a capture.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn marks(name: &str) -> anyhow::Result<BTreeMap<String, Mark>> {
    let path = testdata_dir().join(name).join("marks.json");
    Ok(serde_json::from_slice(&fs::read(&path).with_context(|| path.display().to_string())?)?)
}

/// What all user tables held at a mark.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn truth(name: &str, mark: &str) -> anyhow::Result<Truth> {
    let folder = testdata_dir().join(name).join("truth").join(mark);
    let mut truth = Truth::default();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let file = path.file_name().and_then(|f| f.to_str()).context("a file name that is no text")?;
        if file == "schema.sql" {
            truth.schema_sql = fs::read_to_string(&path)?;
        } else if let Some(stem) = file.strip_suffix(".tsv.zst") {
            let (schema, table) = stem.split_once('.').with_context(|| format!("{stem}: no schema.table"))?;
            let names = (plain_name(schema)?, plain_name(table)?);
            let table = TruthTable::from_tsv(&load(&path)?).with_context(|| path.display().to_string())?;
            truth.tables.insert(names, table);
        }
    }
    Ok(truth)
}

/// Answers of the store about primary keys; only the capture `crash` has them. The first three are the transactions whose
/// commit binlog never came.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn mvcc(name: &str) -> anyhow::Result<Vec<MvccAnswer>> {
    #[derive(Deserialize)]
    struct Line {
        start_ts: StartTs,
        key: String,
        response_hex: String,
    }
    let text = load(&testdata_dir().join(name).join("mvcc.jsonl.zst"))?;
    text.split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let line: Line = serde_json::from_slice(line)?;
            Ok(MvccAnswer {
                start_ts: line.start_ts,
                key: unhex(&line.key)?.into(),
                response: MvccGetByKeyResponse::decode(unhex(&line.response_hex)?.as_slice())?,
            })
        })
        .collect()
}

/// What the original's programs and PD with its etcd (`pd`), or the storage node (`kv`), said to one another; failed calls are left out.
///
/// # Errors
/// When the capture is missing or damaged.
pub fn conversation(name: &str) -> anyhow::Result<Vec<Message>> {
    #[derive(Deserialize)]
    struct Line {
        method: String,
        dir: String,
        #[serde(default)]
        hex: String,
    }
    let text = load(&testdata_dir().join("conversations").join(format!("{name}.jsonl.zst")))?;
    let mut messages = Vec::new();
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let Line { method, dir, hex } = serde_json::from_slice(line)?;
        if dir != "error" {
            messages.push(Message { method, is_request: dir == "request", bytes: unhex(&hex)?.into() });
        }
    }
    Ok(messages)
}

fn load(path: &Path) -> anyhow::Result<Bytes> {
    let compressed = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(unzstd(&compressed).with_context(|| path.display().to_string())?.into())
}

fn u32_le(bytes: &mut Bytes) -> anyhow::Result<usize> {
    ensure!(bytes.len() >= 4, "the last length is cut off");
    Ok(bytes.get_u32_le() as usize)
}

fn take(bytes: &mut Bytes, length: usize) -> anyhow::Result<Bytes> {
    ensure!(bytes.len() >= length, "{length} bytes expected, {} left", bytes.len());
    Ok(bytes.split_to(length))
}

fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(2) && text.is_ascii(), "no hex: {text:?}");
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}

/// Odd characters of file names are `@` and four hex digits.
fn plain_name(file: &str) -> anyhow::Result<String> {
    let mut parts = file.split('@');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) =
            part.split_at_checked(4).with_context(|| format!("{file}: @ without four digits"))?;
        name.push(
            char::from_u32(u32::from_str_radix(code, 16)?)
                .with_context(|| format!("{file}: no character"))?,
        );
        name.push_str(rest);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use binlog_proto::binlog::{Binlog, BinlogType};

    use super::*;

    const ALL: [&str; 5] = ["seed", "txn", "types", "ddl", "crash"];

    #[test]
    fn every_capture_reads() {
        for name in ALL {
            let frames = writes(name).unwrap();
            assert!(frames.is_sorted_by_key(|frame| frame.at_ns));
            for frame in &frames {
                Binlog::decode(frame.payload.clone()).unwrap();
            }
            assert!(meta(name).unwrap().iter().all(|(key, _)| key.starts_with(b"m")));
            marks(name).unwrap();
            assert!(!truth(name, "end").unwrap().tables.is_empty());
        }
    }

    #[test]
    fn what_was_pulled_is_what_was_committed() {
        for (name, pumps) in [("seed", 1), ("txn", 3), ("ddl", 1)] {
            let mut committed: Vec<i64> = writes(name)
                .unwrap()
                .iter()
                .map(|frame| Binlog::decode(frame.payload.clone()).unwrap())
                .filter(|binlog| binlog.tp() == BinlogType::Commit)
                .map(|binlog| binlog.commit_ts)
                .collect();
            let mut pulled: Vec<i64> = (0..pumps)
                .flat_map(|pump| pulled(name, pump).unwrap())
                .map(|payload| Binlog::decode(payload).unwrap().commit_ts)
                .collect();
            committed.sort_unstable();
            pulled.sort_unstable();
            assert_eq!(committed, pulled, "{name}");
        }
    }

    #[test]
    fn names_and_values_are_plain() {
        let truth = truth("types", "end").unwrap();
        assert!(truth.tables.contains_key(&("types".to_owned(), "we`ird na.me-表".to_owned())));
        assert!(truth.schema_sql.contains("CREATE TABLE `bits`"));
        for table in truth.tables.values() {
            assert_eq!(TruthTable::new(table.columns.clone(), table.rows.clone()).rows, table.rows);
        }
    }

    #[test]
    fn the_open_prewrites_come_first() {
        let answers = mvcc("crash").unwrap();
        let with_commit: Vec<bool> = answers
            .iter()
            .map(|answer| {
                writes("crash").unwrap().iter().any(|frame| {
                    let binlog = Binlog::decode(frame.payload.clone()).unwrap();
                    binlog.start_ts == answer.start_ts.as_i64() && binlog.tp() != BinlogType::Prewrite
                })
            })
            .collect();
        assert_eq!(with_commit[..4], [false, false, false, true]);
    }
}
