//! Where a full backup stands: the TSO that its metadata tells.
//!
//! A backup holds every commit at or below its TSO, so a restore on top of it begins after that: the TSO is the range's exclusive bound as it is.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use binlog_types::{ClusterId, CommitTs};
use prost::Message as _;

use crate::{Error, utc};

/// A dump says where it stands in its first lines.
const HEAD: u64 = 1 << 20;
/// BR's `backupmeta` of millions of tables is smaller.
const LARGEST_META: u64 = 2 << 30;
/// Files that the list of tables of a backup may lie in.
const MOST_META_FILES: usize = 1000;
/// Milliseconds since 1970 between which a TSO lies: 2010 and 2100. A position in a MySQL binlog is far below.
const PLAUSIBLE: std::ops::Range<u64> = 1_262_304_000_000..4_102_444_800_000;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Everything at or below it is in the backup.
    pub at: CommitTs,
    /// Of which cluster; None: it does not say.
    pub cluster: Option<ClusterId>,
    /// How it was understood, for people.
    pub note: String,
}

/// The fields of BR's `backup.BackupMeta` that matter here.
#[derive(Clone, PartialEq, prost::Message)]
struct BackupMeta {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
    #[prost(string, tag = "2")]
    cluster_version: String,
    #[prost(uint64, tag = "5")]
    start_version: u64,
    #[prost(uint64, tag = "6")]
    end_version: u64,
    #[prost(message, repeated, tag = "7")]
    schemas: Vec<Schema>,
    #[prost(bool, tag = "8")]
    is_raw_kv: bool,
    /// Where the schemas of a backup of the second version lie.
    #[prost(message, optional, tag = "14")]
    schema_index: Option<MetaFile>,
    #[prost(bool, tag = "21")]
    is_txn_kv: bool,
}

/// `backup.MetaFile`: schemas, and files beside `backupmeta` with more of them.
#[derive(Clone, PartialEq, prost::Message)]
struct MetaFile {
    #[prost(message, repeated, tag = "1")]
    meta_files: Vec<BackupFile>,
    #[prost(message, repeated, tag = "3")]
    schemas: Vec<Schema>,
}

/// `backup.File`.
#[derive(Clone, PartialEq, prost::Message)]
struct BackupFile {
    #[prost(string, tag = "1")]
    name: String,
}

/// `backup.Schema`.
#[derive(Clone, PartialEq, prost::Message)]
struct Schema {
    /// The database as TiDB's JSON.
    #[prost(bytes = "vec", tag = "1")]
    db: Vec<u8>,
    /// The table as TiDB's JSON; empty: the database has none.
    #[prost(bytes = "vec", tag = "2")]
    table: Vec<u8>,
}

impl Backup {
    /// Reads the metadata of a backup: a directory of Dumpling, mydumper or BR, or one file: `metadata`, `backupmeta` or a dump in SQL.
    ///
    /// # Errors
    /// [`Error::Backup`] where it does not tell a TSO.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = if path.is_dir() { in_directory(path)? } else { path.to_owned() };
        let failed = |why: String| Error::Backup { path: file.clone(), why };
        if file.file_name().is_some_and(|name| name == "backupmeta") {
            let size = fs::metadata(&file).map_err(|e| failed(e.to_string()))?.len();
            if size > LARGEST_META {
                return Err(failed(format!("{size} bytes are no backupmeta")));
            }
            let bytes = fs::read(&file).map_err(|e| failed(e.to_string()))?;
            return of_br(&bytes, file.parent().unwrap_or(Path::new(""))).map_err(failed);
        }
        let mut head = Vec::new();
        let read = File::open(&file).and_then(|f| f.take(HEAD).read_to_end(&mut head));
        read.map_err(|e| failed(e.to_string()))?;
        of_dump(&String::from_utf8_lossy(&head)).map_err(failed)
    }
}

fn in_directory(dir: &Path) -> Result<PathBuf, Error> {
    let found = ["backupmeta", "metadata"].into_iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| Error::Backup {
        path: dir.to_owned(),
        why: "it holds neither `metadata` (Dumpling, mydumper) nor `backupmeta` (BR)".to_owned(),
    })
}

fn of_br(bytes: &[u8], dir: &Path) -> Result<Backup, String> {
    let meta = BackupMeta::decode(bytes).map_err(|e| {
        format!("it is no backupmeta, or an encrypted one: {e}; give its end-version as -after-tso")
    })?;
    if meta.is_raw_kv || meta.is_txn_kv {
        return Err("it is a backup of raw keys: there are no tables in it".to_owned());
    }
    let at = plausible(meta.end_version, "end_version")?;
    let mut listed = meta.schemas.clone();
    let unread = match &meta.schema_index {
        Some(index) => match gather(index, dir, &mut 0, &mut listed) {
            Ok(()) => String::new(),
            Err(why) => format!(" (its list of tables is not whole: {why})"),
        },
        None => String::new(),
    };
    let tables = listed.iter().filter(|s| !s.table.is_empty()).count();
    let mut databases: Vec<String> = listed.iter().filter_map(|s| name_of(&s.db)).collect();
    databases.sort();
    databases.dedup();
    let schemas = match databases.len() {
        0 => unread,
        _ => format!(" with {tables} tables of the databases {}{unread}", databases.join(", ")),
    };
    let part = match meta.start_version {
        0 => String::new(),
        start if start == meta.end_version => String::new(),
        start => format!(" (an incremental one, of what came after {start})"),
    };
    let note = format!(
        "backup by BR{part} of cluster {}{schemas}: BackupTS {at} ({}), exclusive",
        meta.cluster_id,
        utc(at.ts())
    );
    let cluster = Some(ClusterId(meta.cluster_id)).filter(|c| c.0 != 0);
    Ok(Backup { at, cluster, note })
}

/// Reads the schemas that an index leads to. They only tell people what the backup holds: where they lie elsewhere, or are encrypted, the backup's
/// TSO is known all the same.
fn gather(index: &MetaFile, dir: &Path, files: &mut usize, out: &mut Vec<Schema>) -> Result<(), String> {
    out.extend_from_slice(&index.schemas);
    for BackupFile { name } in &index.meta_files {
        *files += 1;
        if *files > MOST_META_FILES {
            return Err(format!("it has more than {MOST_META_FILES} files"));
        }
        // Names are those of files beside it.
        let path = dir.join(Path::new(name).file_name().ok_or_else(|| format!("{name:?} is no file"))?);
        let failed = |why: String| format!("{}: {why}", path.display());
        let size = fs::metadata(&path).map_err(|e| failed(e.to_string()))?.len();
        if size > LARGEST_META {
            return Err(failed(format!("{size} bytes are no list of tables")));
        }
        let bytes = fs::read(&path).map_err(|e| failed(e.to_string()))?;
        let below = MetaFile::decode(bytes.as_slice()).map_err(|e| failed(e.to_string()))?;
        gather(&below, dir, files, out)?;
    }
    Ok(())
}

/// `{"db_name":{"O":"shop", …}, …}`.
fn name_of(json: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    Some(json.get("db_name")?.get("O")?.as_str()?.to_owned())
}

/// Dumpling and mydumper: `Pos: TSO` (newer: `Position = TSO`) of the master's status; mysqldump with --master-data:
/// `CHANGE MASTER TO … MASTER_LOG_POS=TSO`.
fn of_dump(text: &str) -> Result<Backup, String> {
    for mark in ["MASTER_LOG_POS", "SOURCE_LOG_POS"] {
        if let Some((_, rest)) = text.split_once(mark) {
            return dump(number(rest.trim_start().trim_start_matches('=')), mark, "mysqldump");
        }
    }
    for line in text.lines() {
        let line = line.trim().trim_start_matches('#').trim();
        let (name, rest) = line.split_once([':', '=']).unwrap_or((line, ""));
        if name.trim().eq_ignore_ascii_case("pos") || name.trim().eq_ignore_ascii_case("position") {
            return dump(number(rest), name.trim(), "Dumpling or mydumper");
        }
    }
    Err("it does not tell a position: Dumpling's and mydumper's `metadata` has `Pos: …`, a dump by mysqldump --master-data has \
         MASTER_LOG_POS. Give the TSO of the backup as -after-tso"
        .to_owned())
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim().trim_matches(['\'', '"']);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn dump(position: Option<u64>, name: &str, maker: &str) -> Result<Backup, String> {
    let position = position.ok_or_else(|| format!("{name} is no number"))?;
    let at = plausible(position, name)?;
    let note = format!("dump by {maker}: {name} {at} ({}), exclusive", utc(at.ts()));
    Ok(Backup { at, cluster: None, note })
}

fn plausible(raw: u64, name: &str) -> Result<CommitTs, String> {
    let at = CommitTs::new(raw);
    if PLAUSIBLE.contains(&at.ts().physical()) {
        return Ok(at);
    }
    Err(format!("{name} {raw} is no TSO of TiDB: is it the position in a MySQL binlog?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TSO: u64 = 420_747_102_018_863_124;

    #[test]
    fn dumps_tell_where_they_stand() {
        let of = |text: &str| of_dump(text).map(|b| b.at.raw());
        let dumpling = format!(
            "Started dump at: 2020-11-10 10:40:19\nSHOW MASTER STATUS:\n\tLog: tidb-binlog\n\tPos: {TSO}\n\nFinished dump at: x\n"
        );
        assert_eq!(of(&dumpling), Ok(TSO));
        assert_eq!(
            of(&format!("[master]\n# Channel_Name = ''\nFile = tidb-binlog\nPosition = {TSO}\n")),
            Ok(TSO)
        );
        let mysqldump = format!(
            "-- MySQL dump\n-- CHANGE MASTER TO MASTER_LOG_FILE='tidb-binlog', MASTER_LOG_POS={TSO};\n"
        );
        assert_eq!(of(&mysqldump), Ok(TSO));
        assert!(
            of("SHOW MASTER STATUS:\n\tLog: mysql-bin.000003\n\tPos: 4711\n")
                .unwrap_err()
                .contains("MySQL binlog")
        );
        assert!(of("CREATE TABLE t (a INT);").is_err());
        assert!(of("Pos: \n").is_err());
    }

    #[test]
    fn a_backupmeta_tells_where_it_stands_and_of_whom() {
        let schema =
            Schema { db: br#"{"id":2,"db_name":{"O":"Shop","L":"shop"}}"#.to_vec(), table: b"{}".to_vec() };
        let meta = BackupMeta {
            cluster_id: 7,
            start_version: TSO,
            end_version: TSO,
            schemas: vec![schema],
            ..BackupMeta::default()
        };
        let mut bytes = meta.encode_to_vec();
        // A field that is not known here.
        bytes.extend([0x7a, 0x01, 0x78]);
        let here = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| of_br(bytes, here.path());
        let backup = of(&bytes).unwrap();
        assert_eq!((backup.at.raw(), backup.cluster), (TSO, Some(ClusterId(7))));
        assert!(backup.note.contains("1 tables of the databases Shop"), "{}", backup.note);
        let raw = BackupMeta { is_raw_kv: true, ..meta.clone() };
        assert!(of(&raw.encode_to_vec()).unwrap_err().contains("raw keys"));
        assert!(of(&BackupMeta { end_version: 0, ..meta.clone() }.encode_to_vec()).is_err());
        assert!(of(b"\xff\xff\xff").is_err());

        // The second version: an index that leads to files, which may lead to others.
        let file = |name: &str| BackupFile { name: name.to_owned() };
        let index = MetaFile { meta_files: vec![file("backupmeta.schema.1")], schemas: Vec::new() };
        let second = BackupMeta { schemas: Vec::new(), schema_index: Some(index), ..meta.clone() };
        let of_second = || of(&second.encode_to_vec()).unwrap();
        assert!(of_second().note.contains("its list of tables is not whole"), "{}", of_second().note);
        let first = MetaFile { meta_files: vec![file("backupmeta.schema.2")], schemas: meta.schemas.clone() };
        fs::write(here.path().join("backupmeta.schema.1"), first.encode_to_vec()).unwrap();
        let last = MetaFile { meta_files: Vec::new(), schemas: meta.schemas };
        fs::write(here.path().join("backupmeta.schema.2"), last.encode_to_vec()).unwrap();
        assert_eq!(of_second().at.raw(), TSO);
        assert!(of_second().note.contains("2 tables of the databases Shop:"), "{}", of_second().note);
    }

    #[test]
    fn directories_are_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Backup::read(dir.path()), Err(Error::Backup { .. })));
        fs::write(dir.path().join("metadata"), format!("SHOW MASTER STATUS:\n\tPos: {TSO}\n")).unwrap();
        assert_eq!(Backup::read(dir.path()).unwrap().at.raw(), TSO);
    }
}
