//! Keys.
//!
//! ```text
//! string   'm' | bytes key(name) | u64 's'
//! hash     'm' | bytes key(name) | u64 'h' | bytes key(field)
//! ```

use binlog_types::{JobId, SchemaVersion, TableId};
use bytes::Bytes;

use crate::codec::{Reader, decode_bytes_key, encode_bytes_key};

const HASH: u64 = b'h' as u64;
const STRING: u64 = b's' as u64;
const JOBS: &[u8] = b"DDLJobHistory";
const DATABASES: &[u8] = b"DBs";
const DATABASE_FIELD: &[u8] = b"DB:";
const TABLE_FIELD: &[u8] = b"Table:";

fn head(name: &[u8], kind: u64) -> Vec<u8> {
    let mut key = vec![b'm'];
    encode_bytes_key(&mut key, name);
    key.extend(kind.to_be_bytes());
    key
}

fn hash_key(name: &[u8], field: &[u8]) -> Bytes {
    let mut key = head(name, HASH);
    encode_bytes_key(&mut key, field);
    key.into()
}

fn hash_range(name: &[u8]) -> (Bytes, Bytes) {
    (head(name, HASH).into(), head(name, HASH + 1).into())
}

/// Key of the current schema version (value: decimal text).
pub fn schema_version_key() -> Bytes {
    head(b"SchemaVersionKey", STRING).into()
}

/// Key of the diff of one version (value: JSON).
pub fn diff_key(version: SchemaVersion) -> Bytes {
    head(format!("Diff:{version}").as_bytes(), STRING).into()
}

/// `[start, end)` of all finished DDL jobs.
pub fn job_history_range() -> (Bytes, Bytes) {
    hash_range(JOBS)
}

/// Key of one finished DDL job.
pub fn job_key(job: JobId) -> Bytes {
    hash_key(JOBS, &job.0.to_be_bytes())
}

/// The job that a key of [`job_history_range`] is of; None: it is another key.
pub fn job_of_key(key: &[u8]) -> Option<JobId> {
    let mut reader = Reader::new(Bytes::copy_from_slice(key.strip_prefix(b"m")?));
    let name = decode_bytes_key(&mut reader).ok()?;
    let kind = reader.array().map(u64::from_be_bytes).ok()?;
    let field = decode_bytes_key(&mut reader).ok()?;
    let id = i64::from_be_bytes(field.as_slice().try_into().ok()?);
    (name == JOBS && kind == HASH && reader.is_empty()).then_some(JobId(id))
}

/// `[start, end)` of all databases.
pub fn databases_range() -> (Bytes, Bytes) {
    hash_range(DATABASES)
}

/// `[start, end)` of all tables of a database (other hash fields lie between: skip what [`super::table_object`] skips).
pub fn tables_range(database_id: i64) -> (Bytes, Bytes) {
    hash_range(format!("DB:{database_id}").as_bytes())
}

/// Key of one table.
pub fn table_key(database_id: i64, table: TableId) -> Bytes {
    hash_key(format!("DB:{database_id}").as_bytes(), format!("Table:{table}").as_bytes())
}

/// Whether a key of a hash is that of a table or database object.
pub(super) fn holds_object(key: &[u8]) -> bool {
    let field = || {
        let mut reader = Reader::new(Bytes::copy_from_slice(key.strip_prefix(b"m")?));
        let name = decode_bytes_key(&mut reader).ok()?;
        let kind = reader.array().map(u64::from_be_bytes).ok()?;
        let field = decode_bytes_key(&mut reader).ok()?;
        let wanted = if name == DATABASES { DATABASE_FIELD } else { TABLE_FIELD };
        Some(kind == HASH && field.starts_with(wanted))
    };
    field().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_tidb_has_them() {
        assert_eq!(schema_version_key(), b"mSchemaVe\xffrsionKey\xff\0\0\0\0\0\0\0\0\xf7\0\0\0\0\0\0\0s"[..]);
        assert_eq!(
            job_key(JobId(3)),
            b"mDDLJobHi\xffstory\0\0\0\xfc\0\0\0\0\0\0\0h\0\0\0\0\0\0\0\x03\xff\0\0\0\0\0\0\0\0\xf7"[..]
        );
        assert_eq!(job_of_key(&job_key(JobId(3))), Some(JobId(3)));
        assert_eq!((job_of_key(&table_key(1, TableId(10))), job_of_key(b"m")), (None, None));
        assert!(holds_object(&table_key(1, TableId(10))));
        assert!(!holds_object(&hash_key(b"DB:1", b"TID:10")));
        assert!(!holds_object(b"m"));
        let (start, end) = tables_range(1);
        assert!(start < table_key(1, TableId(1)) && table_key(1, TableId(1)) < end);
        assert!(!(start..end).contains(&table_key(10, TableId(1))));
    }
}
